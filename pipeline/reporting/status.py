"""The status on the terminal while the job runs (a live table, or plain lines), and the summary at the end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.cli.config import Config
from pipeline.cli.program import program
from pipeline.process.stats import Totals
from pipeline.reporting.keys import Keys
from pipeline.reporting.lag import Lag, lag_shown
from pipeline.reporting.leaving import before_leaving
from pipeline.reporting.live_view import Choice, height, view
from pipeline.reporting.moment import Moment, Predictions
from pipeline.reporting.phase import phase
from pipeline.reporting.recent import Recent
from transforms.printable import counted, printable

LIVE_S = 0.25
"""Seconds between two looks at the counters; also of plain lines, until there is something to count."""

PLAIN_S = 2.0

PATIENCE_S = 0.5
"""How long a signal waits for a drawing to end."""

PARTITIONS_KEY = "p"
"""Shows the lag of each partition, and takes it away again."""

_SHOW_CURSOR = b"\x1b[?25h\r\n"
_HIDE_CURSOR = b"\x1b[?25l"


class Status:
    """The status of ``--status=off``, which shows nothing, and the base class of the others."""

    interval_s = PLAIN_S

    has_stderr = False
    """Whether ``say`` must pass on what other processes write to standard error, so that it does not spoil the drawing."""

    _said: queue.SimpleQueue[str | None] | None = None

    def say(self, text: str) -> None:
        """Shows a message. A signal's handler may call it.

        Within ``watching`` only its thread writes. A handler may interrupt the main thread while that holds a lock of the
        terminal. If the handler wrote the message itself, it and the thread could each wait for the other's lock.
        """
        if self._said is None:
            self.write(text)
        else:
            self._said.put(text)  # of a ``SimpleQueue``: it may interrupt itself

    def write(self, text: str) -> None:
        """Writes a message."""

    def show(self, moment: Moment) -> None:
        """Shows the progress of the job."""

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Has the terminal to itself while the block runs."""
        yield

    def put_back(self) -> None:
        """Makes the terminal what it was, from the handler of a signal that ends the process at once."""

    @contextlib.contextmanager
    def watching(
        self,
        rows: Any,
        predictions: Predictions | None = None,
        lag: Callable[[], Lag | None] = lambda: None,
    ) -> Iterator[None]:
        """Shows the progress at intervals while the block runs, and at once at its beginning.

        Args:
            rows: The workers' rows: see ``pipeline.process.stats``.
            predictions: The latest predictions, if a watcher reads them.
            lag: Returns the lag; ``None`` while it is not known.
        """
        said = queue.SimpleQueue[str | None]()

        def watch() -> None:
            recent = Recent()
            while True:
                totals = Totals(rows)
                recent.add(time.monotonic(), totals)
                self.show(Moment(totals, recent, phase(rows, totals), predictions, lag_shown(lag(), totals.holding)))
                if self._write_for(self.interval_s if totals.records else min(LIVE_S, self.interval_s), said):
                    return

        with self.drawing():
            thread = threading.Thread(target=watch, name="status", daemon=True)
            thread.start()
            self._said = said
            try:
                yield
            finally:
                self._said = None
                said.put(None)
                thread.join()

    def _write_for(self, seconds: float, said: queue.SimpleQueue[str | None]) -> bool:
        """Writes what is said within the next seconds; returns whether the watching ends."""
        ends_at = time.monotonic() + seconds
        while (left_s := ends_at - time.monotonic()) > 0:
            try:
                text = said.get(timeout=left_s)
            except queue.Empty:
                break
            if text is None:
                return True
            self.write(text)
        return False


class PlainStatus(Status):
    """Prints a line whenever the counters have changed."""

    def __init__(self) -> None:
        self._last = ""

    def write(self, text: str) -> None:
        """As ``Status.write``."""
        print(printable(text), flush=True)

    def show(self, moment: Moment) -> None:
        """As ``Status.show``."""
        totals = moment.totals
        said = []
        if totals.records:
            said.append(
                f"{counted(totals.records, 'record')}, {counted(totals.predictions, 'prediction')}, "
                f"{counted(totals.dead_letters, 'dead letter')}, "
                f"{moment.recent.rate:,.0f}/s, p50 {moment.latency(0.5)}, p99 {moment.latency(0.99)}"
            )
        elif not totals.holding:
            said.append(moment.phase)
        if moment.lag is not None:
            said.append(moment.lag.text)
        text = ", ".join(said)
        if moment.predictions is not None and (latest := list(moment.predictions.latest)):
            key, label, verdict = latest[-1]
            text += f"; latest: {key} → {label}" + (f" ({verdict})" if verdict else "")
        if totals.holding:
            text += f"{'; ' if text else ''}WAITING for {totals.holding}"
        if text != self._last:
            self._last = text
            self.write(text)


class LiveStatus(Status):
    """Draws a table on the terminal, and updates it in place."""

    interval_s = LIVE_S

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._keys = Keys(None)
        self._partitions = False
        self._lines = 0
        self._at_it = threading.RLock()
        self._paused = False
        self.has_stderr = self._console.is_terminal and _is_terminal(sys.stderr)

    def write(self, text: str) -> None:
        """As ``Status.write``."""
        with self._at_it:
            self._console.print(Text(printable(text)))

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """As ``Status.drawing``."""
        if self._console.is_terminal:
            self._keys = Keys(sys.stdin)
        with (
            before_leaving(self.put_back, self._take_again),
            self._keys.taken(),
            Live(console=self._console, auto_refresh=False, transient=True, redirect_stderr=self.has_stderr) as self._live,
            _logged_to(sys.stderr),  # which is now what writes above the drawing
        ):
            try:
                yield
            finally:
                self._live = None

    def put_back(self) -> None:
        """As ``Status.put_back``."""
        self._paused = True
        if self._at_it.acquire(timeout=PATIENCE_S):  # a drawing ends first, unless the terminal stands still (Ctrl-S)
            self._at_it.release()
        self._keys.put_back()
        self._write(_SHOW_CURSOR)

    def _take_again(self) -> None:
        """After Ctrl-Z and ``fg``: makes room for the next drawing, which else would go over what the shell has written."""
        self._keys.take()
        if self._keys.here:
            self._write(_HIDE_CURSOR + b"\r\n" * (self._lines - 1))
        self._paused = False

    def _write(self, control: bytes) -> None:
        """Past the buffer, which a signal may have interrupted; and only if the terminal takes it at once."""
        if not self._console.is_terminal:
            return
        with contextlib.suppress(OSError, ValueError):  # it is closed
            fd = self._console.file.fileno()
            if select.select([], [fd], [], 0)[1]:
                os.write(fd, control)

    def show(self, moment: Moment) -> None:
        """As ``Status.show``."""
        if self._keys.pressed().count(PARTITIONS_KEY) % 2:
            self._partitions = not self._partitions
        with self._at_it:
            if self._live is not None and not self._paused:
                drawing = view(moment, self._console, Choice(self._keys.here, self._partitions))
                self._lines = min(height(drawing, self._console), self._console.height)
                self._live.update(drawing, refresh=True)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


@contextlib.contextmanager
def _logged_to(stream: TextIO) -> Iterator[None]:
    """Makes the root logger's handlers write to ``stream`` instead of standard error, while the block runs."""
    handlers = [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    before = [(handler, was) for handler in handlers if (was := handler.setStream(stream)) is not None]
    try:
        yield
    finally:
        for handler, was in before:
            handler.setStream(was)


def open_status(kind: str) -> Status:
    """Makes the status of ``--status``."""
    if kind == "auto":
        kind = "live" if sys.stdout.isatty() else "plain"
    return {"live": LiveStatus, "plain": PlainStatus, "off": Status}[kind]()


def print_summary(
    totals: Totals, config: Config, accuracy: Mapping[str, tuple[int, int]] | None, code: int, lag: Lag | None = None
) -> None:
    """Prints the summary and, after the demo, what to try next.

    Args:
        totals: What was counted.
        config: The configuration of the job.
        accuracy: Of the demo: how many predictions were right, and how many were compared. ``None`` for other jobs.
        code: The exit status.
        lag: How many records are to go; ``None`` if that is not known.
    """
    if config.status == "off":
        return
    rows = [
        ("records", f"{totals.records:,}"),
        ("predictions", f"{totals.predictions:,}"),
        ("dead letters", f"{totals.dead_letters:,}" + _reasons(totals)),
        ("records/s", f"{totals.records_per_s:,.0f}"),
        *_measured(totals),
        *([("tokens", f"{counts['input']:,} in, {counts['output']:,} out")] if (counts := totals.token_counts) else []),
        *([("waited for the limit", f"{totals.paced_s:.0f} s, all requests together")] if totals.paced_s else []),
    ]
    if accuracy is not None and "all" in accuracy:
        right, compared = accuracy["all"]
        text = f"{right / compared:.1%} ({right:,} of {compared:,} right)"
        if "held-out" in accuracy:
            right, compared = accuracy["held-out"]
            text += f"; {right / compared:.1%} of the {compared:,} that the training never saw"
        rows.insert(2, ("accuracy", text))
    if lag is not None:
        rows.append(("to go", counted(lag.records, "record") if lag.records else "nothing"))
    if totals.retries or totals.rollbacks:
        text = f"{counted(totals.retries, 'request')} sent again, {counted(totals.rollbacks, 'bundle')} rolled back"
        rows.append(("retries", text))
    if totals.unanswered:
        read = counted(totals.unanswered, "record that was read", "records that were read")
        text = (
            f"{read}: the model server was down, slow or kept to a limit, or Kafka lacked a topic or a right; the next run "
            f"reads {'it' if totals.unanswered == 1 else 'them'} again"
        )
        rows.append(("unanswered", text))
    print()
    print("done" if code == 0 else "failed")
    for name, value in rows:
        print(f"  {name:<16} {value}")
    if accuracy is not None:
        print(NEXT.format(run=program(), check=program("check")))
    sys.stdout.flush()


def _measured(totals: Totals) -> Iterator[tuple[str, str]]:
    """What only a record or a request has: without one, 0 ms would be no measurement."""
    if totals.records:
        p50, p99 = (totals.latency_ms(quantile) for quantile in (0.5, 0.99))
        yield "latency", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms (read to committed)"
    if totals.batches:
        yield "mean batch size", f"{totals.mean_batch_size:.1f}"


NEXT = """
next
  your own Kafka and model:
    {run} --runner=DirectRunner --bootstrap_servers=HOST:9092 --input_topic=IN --output_topic=OUT \\
      --model=grpc://HOST:8500/MODEL
  whether yours would fit: {check} --sample=20, with the same flags
  a page that shows it:    add --status_port=8080
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
