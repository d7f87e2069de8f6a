"""What the live status draws: figures, dead letters with their reasons, the lag of partitions, the latest predictions.

It fits 80 columns. What has no room is counted: "and 3 more".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.process.stats import Totals
from pipeline.reporting.lag import Lag, duration
from pipeline.reporting.moment import Moment
from transforms.printable import counted, one_line, printable

WIDE = 100
"""A terminal of so many columns has a line with the lag of single partitions, also without a key press."""

MOST_ON_A_LINE = 8
"""Partitions on that line: those with the most to go."""

MOST_CLASSES = 4
"""Dead-letter classes with a line each: those with the most dead letters."""

FEWEST_LINES = 3
"""Lines for partitions after a key press, however low the terminal is."""

NARROW = 20
"""A reason that has no more columns stays on one line."""


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What somebody at the keyboard has chosen.

    Attributes:
        keys: Whether there is a keyboard.
        partitions: Whether the lag of each partition is shown, in place of the latest predictions.
    """

    keys: bool = False
    partitions: bool = False


def view(moment: Moment, console: Console, choice: Choice = Choice()) -> Group:
    """Returns what is to be drawn on ``console``, whose size it fits."""
    if not choice.partitions:
        drawing = _drawing(moment, console, choice, folded=True)
        if height(drawing, console) < console.height:
            return drawing
    return _drawing(moment, console, choice, folded=False)


def height(drawing: Group, console: Console) -> int:
    """Returns its number of lines on ``console``."""
    return len(console.render_lines(drawing, pad=False))


def _drawing(moment: Moment, console: Console, choice: Choice, folded: bool) -> Group:
    """``folded``: a long reason of a dead letter has two lines."""
    totals, lag = moment.totals, moment.lag
    to_go = "" if lag is None or lag.to_go_s is None else f"about {duration(lag.to_go_s)}"
    figures = (
        ("records", f"{totals.records:,}"),
        ("predictions", f"{totals.predictions:,}"),
        ("dead letters", f"{totals.dead_letters:,}"),
        ("to go", "" if lag is None else f"{lag.records:,}"),
        ("time to go", to_go),
        ("records/s", f"{moment.recent.rate:,.0f}"),
        ("p50", moment.latency(0.5)),
        ("p99", moment.latency(0.99)),
        ("batch", f"{totals.mean_batch_size:.1f}"),
        ("partitions", str(totals.partitions)),
    )
    parts: list[RenderableType] = [_cells(figures[:5]), _cells(figures[5:])]
    if now := _now(moment):
        parts.append(_line(now, "dim"))
    if totals.reasons:
        parts += _dead_letters(totals, console, folded)
    if totals.holding:
        parts.append(_line(f"waiting for {totals.holding}", "bold red"))
    hint = (
        [_line("p: without the partitions" if choice.partitions else "p: to go by partition", "dim")] if choice.keys else []
    )
    if choice.partitions:
        used = height(Group(*parts, *hint), console)
        parts.append(_partitions(lag, console.width, max(FEWEST_LINES, console.height - used - 1)))
    else:
        if lag is not None and console.width >= WIDE:
            parts.append(_line(f"to go by partition: {_most_behind(lag)}", "dim"))
        if moment.predictions is not None and (latest := list(moment.predictions.latest)):
            parts.append(_latest(latest))
    return Group(*parts, *hint)


def _line(text: str, style: str) -> Text:
    return Text(printable(text), style=style)


def _cells(cells: Sequence[tuple[str, str]]) -> Table:
    """One row of names and one of values; five of them fit 80 columns."""
    table = Table(box=None, padding=(0, 1))
    for name, _ in cells:
        table.add_column(name, justify="right", min_width=13)
    table.add_row(*(value for _, value in cells))
    return table


def _now(moment: Moment) -> str:
    totals = moment.totals
    said = [] if totals.holding else [moment.phase]  # the hold has a line of its own
    if totals.in_flight_limit:
        said.append(_in_flight(totals.in_flight, totals.in_flight_limit))
    if totals.versions:
        said.append(f"model version {', '.join(totals.versions)}")
    return "; ".join(said)


def _in_flight(requests: int, limit: int) -> str:
    """After the limit was lowered, more than that are still to be answered."""
    if requests > limit:
        return f"{counted(requests, 'request')} in flight, limit {limit:,}"
    return f"{requests:,} of {counted(limit, 'request')} in flight"


def _dead_letters(totals: Totals, console: Console, folded: bool) -> list[RenderableType]:
    """Lines, not a table: a long reason would take the other columns' width."""
    order = sorted(totals.reasons.items(), key=lambda item: (-item[1], item[0]))
    shown = [(one_line(name), f"{count:,}", one_line(totals.messages.get(name, ""))) for name, count in order[:MOST_CLASSES]]
    rows = [("dead letters", "", "reason of the last one"), *shown]
    names, counts = (max(len(row[side]) for row in rows) for side in (0, 1))
    room = console.width - names - counts - 5
    lines: list[RenderableType] = []
    for name, count, reason in rows:
        left = f" {name:<{names}}  {count:>{counts}}  "
        for part in _folded(reason, room, console) if folded and room > NARROW else [reason]:
            said = ((left, "yellow" if count else "bold yellow"), (part, "dim" if count else "bold"))
            lines.append(Text.assemble(*said, no_wrap=True, overflow="ellipsis"))
            left = " " * len(left)
    if len(order) > MOST_CLASSES:
        rest = sum(count for _, count in order[MOST_CLASSES:])
        lines.append(_line(f" and {rest:,} more, of {len(order) - MOST_CLASSES} other classes", "yellow"))
    return lines


def _folded(text: str, width: int, console: Console) -> list[str]:
    """One line or two; the second one is cut where it is drawn."""
    first, *others = [line.plain for line in Text(text).wrap(console, width)] or [""]
    return [first, " ".join(others)] if others else [first]


def _by_lag(lag: Lag) -> list[tuple[str, int]]:
    order = sorted(lag.partitions.items(), key=lambda item: (-item[1], item[0]))
    return [(f"{topic}/{number}", count) for (topic, number), count in order]


def _most_behind(lag: Lag) -> str:
    order = _by_lag(lag)
    shown = ", ".join(f"{name} {count:,}" for name, count in order[:MOST_ON_A_LINE])
    return shown + _more(len(order) - MOST_ON_A_LINE)


def _more(count: int) -> str:
    return f" and {count:,} more" if count > 0 else ""


def _partitions(lag: Lag | None, width: int, lines: int) -> RenderableType:
    """The partitions with the most to go, in as many columns as fit, the first column first."""
    if lag is None:
        return _line("to go by partition: not known, or not yet (the demo's broker does not say it)", "bold")
    order = [(_shortened(name, width // 2), f"{count:,}") for name, count in _by_lag(lag)]
    names, counts = (max(len(row[side]) for row in order) for side in (0, 1))
    columns = max(1, width // (names + counts + 5))
    rows = lines - 1  # one has the heading
    shown, more = order[: columns * rows], len(order) - columns * rows
    table = Table.grid(padding=(0, 2))
    for _ in range(columns):
        table.add_column(width=names, no_wrap=True)
        table.add_column(width=counts + 1, justify="right", no_wrap=True)
    deep = -(-len(shown) // columns)
    for row in range(deep):
        cells = [cell for column in range(columns) for cell in _at(shown, column * deep + row)]
        table.add_row(*(Text(cell) for cell in cells))
    return Group(_line(f"to go by partition, the most first{_more(more)}", "bold"), table)


def _shortened(name: str, most: int) -> str:
    """The partition's number stays, the topic's end goes."""
    if len(name) <= most:
        return name
    topic, _, number = name.rpartition("/")
    return f"{topic[: most - len(number) - 2]}…/{number}"


def _at(rows: Sequence[tuple[str, str]], index: int) -> tuple[str, str]:
    return rows[index] if index < len(rows) else ("", "")


def _latest(latest: Sequence[tuple[str, str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    for key, label, verdict in latest:
        table.add_row(
            Text(printable(key)),
            Text(printable(label), style="bold"),
            Text(verdict, style="green" if verdict == "right" else "red"),
        )
    return table
