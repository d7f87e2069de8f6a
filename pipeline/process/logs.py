"""``log_to_stderr``: the log of a command: warnings and errors, one line each, without those that are about nothing."""

from __future__ import annotations

import logging
import sys

from transforms.printable import PrintableFormatter


def log_to_stderr() -> None:
    """Sets up the log, if nobody has. To be called before Beam is imported, which may log; may be called several times.

    The first to log without a handler, Beam for example, would set it up in Python's own form.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger().addFilter(_not_of_an_unused_part_of_beam)


def _not_of_an_unused_part_of_beam(record: logging.LogRecord) -> bool:
    """Beam 2.77 without ``[gcp]`` warns by the root logger, in every process, that its client of BigQuery is not there."""
    return record.levelno > logging.WARNING or "/apache_beam/io/gcp/" not in record.pathname
