"""The status on the terminal while the job runs (a live table, or plain lines), and the summary at the end."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.cli.config import Config
from pipeline.cli.program import program
from pipeline.process.stats import Totals
from pipeline.reporting.lag import Lag, duration
from pipeline.reporting.recent import Recent
from transforms.printable import printable

LIVE_S = 0.25
PLAIN_S = 2.0
WIDE = 100
"""A terminal of so many columns has room for the lag of single partitions."""

MOST_PARTITIONS = 8
"""Those with the most to go are shown."""


class Predictions(Protocol):
    """The latest predictions, to be shown."""

    @property
    def latest(self) -> Iterable[tuple[str, str, str]]:
        """Key, label and verdict of each."""

    def accuracy(self) -> dict[str, tuple[int, int]]:
        """Number of right predictions and of comparisons, by the set of records that was compared."""


class Status:
    """The status of ``--status=off``, which shows nothing, and the base class of the others."""

    interval_s = PLAIN_S

    def say(self, text: str) -> None:
        """Shows a message."""

    def show(self, totals: Totals, recent: Recent, predictions: Predictions | None, lag: Lag | None) -> None:
        """Shows the progress of the job.

        Args:
            totals: The counters of all workers.
            recent: The same, of the last seconds.
            predictions: The latest predictions, if a watcher reads them.
            lag: How much is to go, if it is known.
        """

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Has the terminal to itself while the block runs."""
        yield

    @contextlib.contextmanager
    def watching(
        self,
        totals: Callable[[], Totals],
        predictions: Predictions | None,
        lag: Callable[[], Lag | None] = lambda: None,
    ) -> Iterator[None]:
        """Shows the progress at intervals while the block runs."""
        stop = threading.Event()

        def watch() -> None:
            recent = Recent()
            recent.add(time.monotonic(), totals())
            while not stop.wait(self.interval_s):
                current = totals()
                recent.add(time.monotonic(), current)
                self.show(current, recent, predictions, lag())

        with self.drawing():
            thread = threading.Thread(target=watch, name="status", daemon=True)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()


class PlainStatus(Status):
    """Prints a line whenever the counters have changed."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, text: str) -> None:
        """As ``Status.say``."""
        print(printable(text), flush=True)

    def show(self, totals: Totals, recent: Recent, predictions: Predictions | None, lag: Lag | None) -> None:
        """As ``Status.show``."""
        text = (
            f"{totals.records:,} records, {totals.predictions:,} predictions, {totals.dead_letters:,} dead letters, "
            f"{recent.rate:,.0f}/s, p50 {_ms(recent, 0.5)}, p99 {_ms(recent, 0.99)}"
        )
        if lag is not None:
            text += f", {lag.text}"
        if predictions is not None and (latest := list(predictions.latest)):
            key, label, verdict = latest[-1]
            text += f"; latest: {key} → {label}" + (f" ({verdict})" if verdict else "")
        if totals.holding:
            text += f"; WAITING for {totals.holding}"
        if text != self._last:
            self._last = text
            self.say(text)


class LiveStatus(Status):
    """Draws a table on the terminal, and updates it in place."""

    interval_s = LIVE_S

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """As ``Status.say``."""
        self._console.print(Text(printable(text)))

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """As ``Status.drawing``."""
        with Live(console=self._console, refresh_per_second=8, transient=True) as self._live:
            yield
            self._live = None

    def show(self, totals: Totals, recent: Recent, predictions: Predictions | None, lag: Lag | None) -> None:
        """As ``Status.show``."""
        if self._live is None:
            return
        to_go = "" if lag is None or lag.to_go_s is None else f"about {duration(lag.to_go_s)}"
        rows = (
            ("records", f"{totals.records:,}"),
            ("predictions", f"{totals.predictions:,}"),
            ("dead letters", f"{totals.dead_letters:,}"),
            ("to go", "" if lag is None else f"{lag.records:,}"),
            ("time to go", to_go),
            ("records/s", f"{recent.rate:,.0f}"),
            ("p50", _ms(recent, 0.5)),
            ("p99", _ms(recent, 0.99)),
            ("batch", f"{totals.mean_batch_size:.1f}"),
            ("partitions", str(totals.partitions)),
        )
        parts: list[Table | Text] = [_cells(rows[:5]), _cells(rows[5:])]
        parts.append(Text(printable(_now(totals)), style="dim"))
        if totals.reasons:
            parts.append(Text(printable(f"dead letters: {_by_class(totals)}"), style="yellow"))
        if lag is not None and self._console.width >= WIDE:
            parts.append(Text(printable(f"to go by partition: {_most_behind(lag)}"), style="dim"))
        if totals.holding:
            parts.append(Text(printable(f"waiting for {totals.holding}"), style="bold red"))
        if predictions is not None:
            parts.append(_latest(predictions))
        self._live.update(Group(*parts))


def _cells(cells: Sequence[tuple[str, str]]) -> Table:
    """One row of names and one of values; five of them fit 80 columns."""
    table = Table(box=None, padding=(0, 1))
    for name, _ in cells:
        table.add_column(name, justify="right", min_width=13)
    table.add_row(*(value for _, value in cells))
    return table


def _now(totals: Totals) -> str:
    if not totals.records:
        return "no record has been answered yet" if totals.partitions else "starting: no partition is assigned yet"
    versions = f"; model version {', '.join(totals.versions)}" if totals.versions else ""
    return f"{totals.in_flight:,} of {totals.in_flight_limit:,} requests in flight{versions}"


def _most_behind(lag: Lag) -> str:
    order = sorted(lag.partitions.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{topic}/{number} {count:,}" for (topic, number), count in order[:MOST_PARTITIONS])
    return shown + (f" and {len(order) - MOST_PARTITIONS} others" if len(order) > MOST_PARTITIONS else "")


def _ms(recent: Recent, quantile: float) -> str:
    latency_ms = recent.latency_ms(quantile)
    return f"{latency_ms:,.0f} ms" if latency_ms else "–"


def _latest(predictions: Predictions) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    for key, label, verdict in list(predictions.latest):
        table.add_row(
            Text(printable(key)),
            Text(printable(label), style="bold"),
            Text(verdict, style="green" if verdict == "right" else "red"),
        )
    return table


def open_status(kind: str) -> Status:
    """Makes the status of ``--status``."""
    if kind == "auto":
        kind = "live" if sys.stdout.isatty() else "plain"
    return {"live": LiveStatus, "plain": PlainStatus, "off": Status}[kind]()


def print_summary(
    totals: Totals, config: Config, accuracy: Mapping[str, tuple[int, int]], code: int, lag: Lag | None = None
) -> None:
    """Prints the summary and, after the demo, what to try next."""
    if config.status == "off":
        return
    rows = [
        ("records", f"{totals.records:,}"),
        ("predictions", f"{totals.predictions:,}"),
        ("dead letters", f"{totals.dead_letters:,}" + _reasons(totals)),
        ("records/s", f"{totals.records_per_s:,.0f}"),
        ("latency", f"p50 {totals.latency_ms(0.5):.1f} ms, p99 {totals.latency_ms(0.99):.1f} ms (read to committed)"),
        ("mean batch size", f"{totals.mean_batch_size:.1f}"),
    ]
    if "all" in accuracy:
        right, compared = accuracy["all"]
        text = f"{right / compared:.1%} ({right:,} of {compared:,} right)"
        if "held-out" in accuracy:
            right, compared = accuracy["held-out"]
            text += f"; {right / compared:.1%} of the {compared:,} that the training never saw"
        rows.insert(2, ("accuracy", text))
    if lag is not None:
        rows.append(("to go", f"{lag.records:,} records" if lag.records else "nothing"))
    if totals.retries or totals.rollbacks:
        rows.append(("retries", f"{totals.retries:,} requests sent again, {totals.rollbacks:,} bundles rolled back"))
    if totals.unanswered:
        text = (
            f"{totals.unanswered:,} records that were read: the model server was down, or Kafka lacked a topic or a right; "
            "the next run reads them again"
        )
        rows.append(("unanswered", text))
    print()
    print("done" if code == 0 else "failed")
    for name, value in rows:
        print(f"  {name:<16} {value}")
    if config.demo or ("127.0.0.1" in config.model and config.model.endswith("/digits")):
        print(NEXT.format(run=program(), check=program("check")))
    sys.stdout.flush()


NEXT = """
next
  your own Kafka and model:
    {run} --runner=DirectRunner --bootstrap_servers=HOST:9092 --input_topic=IN --output_topic=OUT \\
      --model=grpc://HOST:8500/MODEL
  whether yours would fit: {check} --sample=20, with the same flags
  more workers:            add --workers=2
  all flags:               {run} --help"""


def _reasons(totals: Totals) -> str:
    return f" ({_by_class(totals)})" if totals.reasons else ""


def _by_class(totals: Totals) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(totals.reasons.items()))


def write_summary(totals: Totals, path: Path, lag: Lag | None = None) -> None:
    """Writes the summary as JSON."""
    summary = totals.summary() | ({} if lag is None else {"lag": lag.summary()})
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
