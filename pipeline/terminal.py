"""What the program says on the terminal beside its status."""

from __future__ import annotations

import sys

from transforms.printable import printable


def tell_error(error: object) -> None:
    """Prints ``error: …`` to standard error, each line of the text on a line of its own."""
    for line in printable(str(error)).splitlines() or [""]:
        print(f"error: {line}", file=sys.stderr, flush=True)
