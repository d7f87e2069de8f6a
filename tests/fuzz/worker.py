"""One target under atheris: ``python -m tests.fuzz.worker TARGET [libFuzzer's arguments]``."""

from __future__ import annotations

import logging
import sys

import atheris


def main() -> None:
    """Runs libFuzzer, which ends the process."""
    logging.disable()  # what is told of an input is no finding
    with atheris.instrument_imports(include=["transforms"]):
        from tests.fuzz.table import TARGETS
    run = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
