"""What the program prints on the terminal besides its status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from transforms.printable import printable


def tell_error(error: object) -> None:
    """Prints ``error: …`` to standard error, each line of the text on a line of its own."""
    for line in printable(str(error)).splitlines() or [""]:
        print(f"error: {line}", file=sys.stderr, flush=True)


def confirmed(question: str) -> bool:
    """Asks ``question`` at a terminal. Without one it returns true: nobody can answer, and the flags count as the answer."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields the rows of a table as lines, with the cells of a column under one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def quiet_grpc() -> None:
    """Limits gRPC's own log to errors: it logs each connection that a server closes, which would break the live status.

    To be called before gRPC is imported, which is when it reads the variable.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
