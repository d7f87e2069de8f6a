"""Prints the results of a check: a table on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.checking.field_report import FITS, FieldRow
from pipeline.checking.one_request import OneRequest
from pipeline.terminal import aligned
from transforms.printable import counted, one_line

LABEL = 10
"""Width of the label before a line."""


class CheckOutput:
    """Where a check is printed.

    Args:
        out: The stream; a terminal gets colours and borders.
    """

    def __init__(self, out: TextIO):
        self._out = out
        self._console = Console(file=out, highlight=False) if out.isatty() else None

    def lines(self, label: str, *texts: str) -> None:
        """Prints lines under one label."""
        for index, text in enumerate(map(one_line, texts)):
            head = (label if index == 0 else "").ljust(LABEL)
            if self._console is None:
                print(f"{head} {text}", file=self._out)
            else:
                # The terminal wraps it: a line break of ours would cut a command in two when it is pasted.
                self._console.print(Text.assemble((head, "bold"), " ", text), soft_wrap=True)

    def table(self, rows: Sequence[FieldRow]) -> None:
        """Prints the table of fields and inputs, without empty columns."""
        cells = [("field ↔ input", "dtype", "shape", "sample", "value", "verdict")]
        cells += [(row.field, row.dtype, row.shape, row.sample, row.value, row.verdict) for row in rows]
        kept = [i for i in range(len(cells[0])) if i < 3 or any(line[i] for line in cells[1:])]
        cells = [tuple(one_line(line[i]) for i in kept) for line in cells]  # type: ignore[misc]  # fewer columns
        if self._console is None:
            print("", *aligned(cells), "", sep="\n", file=self._out)
            return
        table = Table(box=box.SIMPLE_HEAD)
        for name in cells[0]:
            table.add_column(name, overflow="fold")
        for row, line in zip(rows, cells[1:], strict=True):
            style = "red" if row.wrong else "green" if row.verdict.startswith(FITS) else ""
            *rest, last = line
            table.add_row(*map(Text, rest), Text(last, style=style))
        self._console.print(table)

    def request(self, request: OneRequest, address: str) -> None:
        """Prints what one request would look like."""
        preview = request.preview
        target = address if preview is None else f"{preview.protocol} {preview.method} to {preview.address}"
        most = f"at most {counted(request.most, 'row')} a request ({request.why_most})"
        rows = f"{most}; of the records read, {request.rows:,}:" if request.sampled else f"{most}:"
        tensors = []
        for tensor in request.tensors:
            size = "" if tensor.payload_bytes is None else f"  {counted(tensor.payload_bytes, 'byte')}"
            tensors.append(f"  {tensor.name}  {tensor.spec}{size}")
        total = [f"{counted(preview.body_bytes, 'byte')} in all, without headers"] if preview is not None else []
        self.lines("request", target, rows, *tensors, *total)
