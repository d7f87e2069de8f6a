"""Tables of the reference documentation, from what the code uses: ``python -m transforms.reference headers``.

Tests compare the documents with them, so that a header or a class that is added here is documented.
"""

from __future__ import annotations

import sys

from transforms.dead_letter_classes import DeadLetterClass
from transforms.headers import HEADERS


def headers_table() -> str:
    """Returns the headers of predictions and dead letters, in Markdown."""
    rows = [f"| `{row.name}` | {', '.join(row.on)} | {row.description} |" for row in HEADERS]
    return "\n".join(["| header | on a | value |", "|---|---|---|", *rows, ""])


def dead_letter_table() -> str:
    """Returns the dead-letter classes by stage, in Markdown."""
    rows = [f"| {', '.join(known.stages)} | `{known.error_class}` | {known.description} |" for known in DeadLetterClass]
    return "\n".join(["| stage | class | why |", "|---|---|---|", *rows, ""])


TABLES = {"headers": headers_table, "dead_letters": dead_letter_table}


def main(names: list[str]) -> int:
    """Prints the tables of these names, all by default; returns the exit status."""
    if names in (["--help"], ["-h"]):
        print(f"usage: python -m transforms.reference [{'|'.join(TABLES)} …]\n\n{__doc__}")
        return 0
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        print(f"unknown table {unknown[0]}; there are {', '.join(TABLES)}", file=sys.stderr)
        return 2
    print("\n".join(TABLES[name]() for name in names or TABLES), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
