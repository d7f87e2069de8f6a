"""Prints what a tally and the counts of a replay hold, as aligned plain text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from pipeline.dead_letter_tools.filters import classes_left_out, shown, source_text, time_text
from pipeline.dead_letter_tools.selecting import Counts
from pipeline.dead_letter_tools.tally import Tally
from pipeline.terminal import aligned
from transforms.kafka.dead_letters.letter import Letter
from transforms.printable import counted, one_line

LABEL = 10
BAR = 40
VALUE_BYTES = 100


def print_tally(tally: Tally, out: TextIO, *, with_replayed: bool = True) -> None:
    """Prints the table by class, where the records came from, and the bars over time."""
    if not tally.rows:
        return
    head = ["stage", "class", "dead letters", "replayed", "first record", "last record"]
    rows = [
        [stage, error_class, f"{row.letters:,}", f"{row.replayed:,}", time_text(row.first_ms), time_text(row.last_ms)]
        for (stage, error_class), row in sorted(tally.rows.items(), key=lambda item: -item[1].letters)
    ]
    cells = [head, *([one_line(cell) for cell in row] for row in rows)]
    if not with_replayed:
        cells = [[*row[:3], *row[4:]] for row in cells]
    print("", *aligned(cells), "", sep="\n", file=out)
    _lines("from", [f"{one_line(topic)}  {count:,}" for topic, count in tally.topics.most_common()], out)
    bars = tally.bars()
    most = max((count for _, count in bars), default=1)
    _lines("time", [f"{time_text(at)}  {'█' * max(1, BAR * count // most)} {count:,}" for at, count in bars], out)


def print_samples(letters: Sequence[Letter], out: TextIO, *, show_values: bool) -> None:
    """Prints dead letters: where from, key, time, message; with ``show_values`` the first bytes of the value, too."""
    lines = []
    for letter in letters:
        again = f"  replayed before: {letter.replays}" if letter.replays else ""
        kind = f"{one_line(letter.stage)} {one_line(letter.error_class)}"
        lines.append(f"{source_text(letter)}  {kind}  key {shown(letter.key)}  {time_text(letter.timestamp_ms)}{again}")
        lines.append(f"  {one_line(letter.message)}")
        if show_values:
            value = letter.record.value
            cut = "" if value is None or len(value) <= VALUE_BYTES else f"… ({counted(len(value), 'byte')})"
            lines.append(f"  value {shown(None if value is None else value[:VALUE_BYTES])}{cut}")
    _lines("samples", lines, out)


def print_counts(
    counts: Counts, out: TextIO, *, score: bool, dry_run: bool, stopped: bool, classes: Sequence[str] = ()
) -> None:
    """Prints what became of the records.

    Args:
        counts: How many there were.
        out: Where to print.
        score: Whether they were put through the model.
        dry_run: Whether none was replayed.
        stopped: Whether a signal ended it before the end.
        classes: Those of ``--error_class``.
    """
    rows = [("read", f"{counts.read:,}"), ("would be replayed" if dry_run else "replayed", f"{counts.replayed:,}")]
    if score and not dry_run:
        dead = counts.dead.total()
        why = f" ({', '.join(f'{name} {count:,}' for name, count in sorted(counts.dead.items()))})" if dead else ""
        rows += [("  predictions", f"{counts.replayed - dead:,}"), ("  dead letters", f"{dead:,}{why}")]
    rows += [("replayed before", f"{counts.before:,}")]
    if counts.others:
        rows += [
            ("other", f"{counts.others.total():,}, which the filters leave out{classes_left_out(counts.others, classes)}")
        ]
    rows += [("refused", f"{counts.refused.total():,}")]
    rows += [("", f"{count:,}: {one_line(reason)}") for reason, count in counts.refused.most_common()]
    print("stopped: run it again for the rest" if stopped else "done", file=out)
    for name, value in rows:
        print(f"  {name:<17} {value}", file=out)


def write_counts(counts: Counts, path: Path) -> None:
    """Writes the counts as JSON."""
    found = {
        "read": counts.read,
        "replayed": counts.replayed,
        "replayed_before": counts.before,
        "other": counts.others.total(),
        "refused": counts.refused.total(),
        "refused_by_reason": dict(counts.refused),
        "dead_letters_by_class": dict(counts.dead),
    }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _lines(label: str, texts: Sequence[str], out: TextIO) -> None:
    for index, text in enumerate(texts):
        print(f"{(label if index == 0 else '').ljust(LABEL)} {text}", file=out)
