"""What a person sees: lines when something has changed, a table on a terminal, and the summary."""

from __future__ import annotations

import json
import logging
import os
import pty
import select
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.cli import options
from pipeline.process.stats import Totals, WorkerStats, open_rows
from pipeline.reporting.lag import Lag
from pipeline.reporting.moment import Moment
from pipeline.reporting.status import LiveStatus, PlainStatus, Status, open_status, print_summary, write_summary
from tests.pipeline.reporting.moments import Latest, moment, worker

ERASED = "\x1b[2K"
"""How a terminal is told to empty a line: a drawing is taken away line by line."""


def totals(records: int = 10) -> Totals:
    return Totals(worker(records).rows)


def test_a_plain_line_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    status = PlainStatus()
    status.show(moment(worker(12_345), Latest(), Lag({("in", 0): 1000, ("in", 1): 234}, 150.0)))
    line = capsys.readouterr().out
    assert "12,345 records, 12,343 predictions, 2 dead letters, 1,234/s, p50 4 ms, p99 4 ms" in line
    assert ", 1,234 to go (about 2 min)" in line
    assert "latest: k2 → 8 (wrong, it is 3)" in line


def test_a_line_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    status = PlainStatus()
    for _ in range(3):
        status.show(moment(worker()))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_waiting_for_the_model_server_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    PlainStatus().show(moment(worker(holding="the model server: connection refused")))
    PlainStatus().show(moment(worker(0, holding="the model server: connection refused")))
    before, at_the_start = capsys.readouterr().out.splitlines()
    assert before.endswith("; WAITING for the model server: connection refused")
    assert at_the_start == "WAITING for the model server: connection refused"


def test_plain_lines_say_what_is_awaited_before_the_first_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows, status = open_rows(tmp_path / "stats", 2), PlainStatus()

    def show() -> None:
        status.show(moment(rows=rows))

    show()
    first = WorkerStats(tmp_path / "stats", 0, 2)
    WorkerStats(tmp_path / "stats", 1, 2)
    show()
    first.polled()
    show()
    first.assigned(["in/0", "in/1"])
    show()
    status.show(moment(rows=rows, lag=Lag({("in", 0): 7})))
    first.committed(1, {}, [(0.004, 1)])
    show()
    *phases, counted = capsys.readouterr().out.splitlines()
    assert phases == [
        "waiting for 2 of 2 workers to start",
        "connecting to Kafka",
        "joining the consumer group",
        "reading 2 partitions; no record has been answered yet",
        "reading 2 partitions; no record has been answered yet, 7 to go",
    ]
    assert counted.startswith("1 record, 1 prediction")


def test_off_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status = open_status("off")
    status.say("hello")
    status.show(moment(worker()))
    print_summary(totals(), options.parse(["--status=off"]), {}, 0)
    assert capsys.readouterr().out == ""


def test_auto_is_plain_where_there_is_no_terminal() -> None:
    assert type(open_status("auto")) is PlainStatus
    assert type(open_status("live")) is LiveStatus


def test_watching_shows_again_and_again_and_ends() -> None:
    shown = threading.Event()
    seen: list[Moment] = []
    counted = worker(10)

    class Short(Status):
        interval_s = 0.001

        def show(self, moment: Moment) -> None:
            seen.append(moment)
            counted.committed(10, {}, [(0.004, 10)])
            if len(seen) == 3:
                shown.set()

    with Short().watching(counted.rows, None, lambda: Lag({("in", 0): 1})):
        assert shown.wait(10)
    count = len(seen)
    assert seen[-1].recent.rate > 0
    assert not [thread for thread in threading.enumerate() if thread.name == "status"]
    assert len(seen) == count
    assert seen[-1].lag == Lag({("in", 0): 1})
    assert seen[0].phase == "scoring 2 partitions"


def test_while_it_holds_nobody_knows_how_long_it_will_take() -> None:
    """The speed of the last half minute would say so: first too short a time, then one that grows."""
    seen: list[Moment] = []
    shown = threading.Event()

    class Short(Status):
        def show(self, moment: Moment) -> None:
            seen.append(moment)
            shown.set()

    with Short().watching(worker(holding="the model server").rows, None, lambda: Lag({("in", 0): 5}, 60.0)):
        assert shown.wait(10)
    assert seen[0].lag == Lag({("in", 0): 5}, None)


def test_what_happens_first_is_shown_at_once() -> None:
    """Not after the interval, which may be longer than the first seconds."""
    seen = threading.Event()

    class Slow(Status):
        interval_s = 3600.0

        def show(self, moment: Moment) -> None:
            seen.set()

    with Slow().watching(open_rows(None, 2)):
        assert seen.wait(10)


def test_while_it_watches_its_thread_writes_what_is_said() -> None:
    """A signal's handler that wrote itself, in a main thread that it interrupted while writing, stood for ever."""
    written: list[tuple[str, bool]] = []
    heard = threading.Event()

    class Slow(Status):
        interval_s = 3600.0

        def write(self, text: str) -> None:
            written.append((text, threading.current_thread() is threading.main_thread()))
            heard.set()

    status = Slow()
    status.say("before")
    heard.clear()
    with status.watching(worker().rows):
        status.say("at once")
        assert heard.wait(10)
        status.say("last")
    status.say("after")
    assert written == [("before", True), ("at once", False), ("last", False), ("after", True)]


def test_the_live_status_draws_and_says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    status = LiveStatus()
    with status.drawing():
        status.show(moment(worker(12_345_678), Latest()))
        status.say("[red]not markup[/]")
    shown = capsys.readouterr().out
    assert "[red]not markup[/]" in shown
    assert "12,345,678" in shown
    assert "p: " not in shown, "there is no keyboard"


class Screen:
    """A terminal; ``text`` is what has been written to it so far."""

    def __init__(self) -> None:
        self._reads, writes = pty.openpty()
        tty.setraw(writes)  # a line's end stays as it is
        self.stream = os.fdopen(writes, "w", buffering=1)

    def text(self) -> str:
        self.stream.flush()
        read = b""
        while select.select([self._reads], [], [], 0)[0]:
            read += os.read(self._reads, 65536)
        return read.decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self._reads)


@pytest.fixture
def logs_to_stderr() -> Iterator[Callable[[], None]]:
    """Returns what sets up the logs as a job does, which is after the test has replaced standard error."""
    ours: list[logging.Handler] = []

    def set_up() -> None:
        ours.append(logging.StreamHandler(sys.stderr))
        logging.getLogger().addHandler(ours[0])

    yield set_up
    logging.getLogger().removeHandler(ours[0])


def test_what_goes_to_standard_error_stands_above_the_drawing(
    monkeypatch: pytest.MonkeyPatch, logs_to_stderr: Callable[[], None]
) -> None:
    """A warning went into the table, and the next drawing went over it."""
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen.stream)
    monkeypatch.setattr(sys, "stderr", screen.stream)
    monkeypatch.setenv("TERM", "xterm")
    logs_to_stderr()
    status = LiveStatus()
    assert status.has_stderr
    with status.drawing():
        status.show(moment(worker(12_345), Latest()))
        screen.text()
        logging.getLogger("transforms").warning("a warning")
        print("a print", file=sys.stderr, flush=True)
        written = screen.text()
    for line in ("a warning", "a print"):
        before, _, after = written.partition(line)
        assert before.endswith(ERASED), f"{line}: the drawing was taken away first"
        assert "12,345" in after, f"{line}: and drawn again"
    logging.getLogger("transforms").warning("afterwards")
    assert screen.text().endswith("afterwards\n")
    screen.close()


def test_standard_error_in_a_file_stays_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logs_to_stderr: Callable[[], None]
) -> None:
    """``2>log``: what was printed while the table stood went to the terminal."""
    screen = Screen()
    with (tmp_path / "log").open("w+", buffering=1) as log:
        monkeypatch.setattr(sys, "stdout", screen.stream)
        monkeypatch.setattr(sys, "stderr", log)
        monkeypatch.setenv("TERM", "xterm")
        logs_to_stderr()
        status = LiveStatus()
        assert not status.has_stderr
        with status.drawing():
            status.show(moment(worker(12_345), Latest()))
            logging.getLogger("transforms").warning("a warning")
            print("a print", file=sys.stderr)
        assert (tmp_path / "log").read_text() == "a warning\na print\n"
        assert "a print" not in screen.text()
    screen.close()


OWN = ["--bootstrap_servers=h:1", "--model=grpc://127.0.0.1:1/digits", "--input_topic=a", "--output_topic=b"]


def test_the_summary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = options.parse([])
    print_summary(totals(), config, {"all": (8, 10)}, 0)
    text = capsys.readouterr().out
    for expected in ("done", "records", "dead letters     2 (Rejected 1, Tombstone 1)", "80.0% (8 of 10 right)", "next"):
        assert expected in text
    assert "retries" not in text
    assert "to go" not in text
    print_summary(totals(0), options.parse(OWN), None, 1, Lag({("in", 0): 1200}))
    text = capsys.readouterr().out
    assert "to go            1,200 records" in text
    assert "next" not in text, "of the demo alone, whatever the model is called"
    print_summary(totals(0), config, {}, 1)
    text = capsys.readouterr().out
    assert "failed" in text
    assert "latency" not in text, "of no record: 0 ms would be no measurement"
    assert "batch size" not in text
    write_summary(totals(), tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text())["records"] == 10
    write_summary(totals(), tmp_path / "summary.json", Lag({("in", 1): 2, ("in", 0): 1}))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["lag"] == {"records": 3, "by_partition": {"in/0": 1, "in/1": 2}}
