"""What a person sees: lines when something has changed, a table on a terminal, and the summary."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from pipeline.cli import options
from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.lag import Lag
from pipeline.reporting.recent import Recent
from pipeline.reporting.status import LiveStatus, PlainStatus, Status, open_status, print_summary, write_summary


def totals(records: int = 10, holding: str | None = None) -> Totals:
    worker = WorkerStats()
    if records:
        worker.committed(records - 2, {("decode", "Tombstone"): 1, ("predict", "Rejected"): 1}, [(4.0, records)])
        worker.answered(records, 0.02, "3")
        worker.requesting(2, 16)
    worker.holding(holding)
    return Totals(worker.rows)


def recently(totals: Totals, seconds: float = 10.0) -> Recent:
    """As if all had come in so many seconds."""
    recent = Recent()
    recent.add(0.0, Totals(WorkerStats().rows))
    recent.add(seconds, totals)
    return recent


class Latest:
    latest = (("k1", "7", "right"), ("k2", "8", "wrong, it is 3"))

    def accuracy(self) -> dict[str, tuple[int, int]]:
        return {}


def test_a_plain_line_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    status = PlainStatus()
    seen = totals(12_345)
    status.show(seen, recently(seen), Latest(), Lag({("in", 0): 1000, ("in", 1): 234}, 150.0))
    line = capsys.readouterr().out
    assert "12,345 records, 12,343 predictions, 2 dead letters, 1,234/s, p50 4 ms, p99 4 ms" in line
    assert ", 1,234 to go (about 2 min)" in line
    assert "latest: k2 → 8 (wrong, it is 3)" in line


def test_a_line_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    status = PlainStatus()
    for _ in range(3):
        status.show(totals(), Recent(), None, None)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_waiting_for_the_model_server_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    PlainStatus().show(totals(holding="the model server: connection refused"), Recent(), None, None)
    assert "WAITING for the model server: connection refused" in capsys.readouterr().out


def test_off_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status = open_status("off")
    status.say("hello")
    status.show(totals(), Recent(), None, None)
    print_summary(totals(), options.parse(["--status=off"]), {}, 0)
    assert capsys.readouterr().out == ""


def test_auto_is_plain_where_there_is_no_terminal() -> None:
    assert type(open_status("auto")) is PlainStatus
    assert type(open_status("live")) is LiveStatus


def test_watching_shows_again_and_again_and_ends() -> None:
    shown = threading.Event()
    rates: list[float] = []
    lags: list[Lag | None] = []

    class Short(Status):
        interval_s = 0.001

        def show(self, totals: Totals, recent: Recent, predictions: object, lag: Lag | None) -> None:
            rates.append(recent.rate)
            lags.append(lag)
            if len(rates) == 3:
                shown.set()

    with Short().watching(lambda: totals(10 * (len(rates) + 1)), None, lambda: Lag({("in", 0): 1})):
        assert shown.wait(10)
    count = len(rates)
    assert rates[-1] > 0
    assert not [thread for thread in threading.enumerate() if thread.name == "status"]
    assert len(rates) == count
    assert lags[-1] == Lag({("in", 0): 1})


@pytest.mark.parametrize(("columns", "by_partition"), [(80, False), (120, True)])
def test_the_live_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, by_partition: bool
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    status = LiveStatus()
    seen = totals(12_345_678, holding="[bold]down[/]")
    with status.watching(lambda: seen, None):
        status.show(seen, recently(seen), Latest(), Lag({("in", 0): 1000, ("in", 1): 234}, 150.0))
        status.say("[red]not markup[/]")
    shown = capsys.readouterr().out
    assert "[red]not markup[/]" in shown
    for expected in ("12,345,678", "1,234", "about 2 min", "1,234,568", "dead letters: Rejected 1, Tombstone 1"):
        assert expected in shown
    assert "2 of 16 requests in flight; model version 3" in shown
    assert ("to go by partition: in/0 1,000, in/1 234" in shown) is by_partition
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert max(len(line.rstrip()) for line in plain.splitlines()) <= columns


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [([], "starting: no partition is assigned yet"), (["in/0"], "no record has been answered yet")],
)
def test_the_live_table_before_the_first_record(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, partitions: list[str], expected: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    worker, status = WorkerStats(), LiveStatus()
    worker.assigned(partitions)
    with status.drawing():
        status.show(Totals(worker.rows), Recent(), None, None)
    assert expected in capsys.readouterr().out


def test_the_summary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = options.parse([])
    print_summary(totals(), config, {"all": (8, 10)}, 0)
    text = capsys.readouterr().out
    for expected in ("done", "records", "dead letters     2 (Rejected 1, Tombstone 1)", "80.0% (8 of 10 right)", "next"):
        assert expected in text
    assert "retries" not in text
    assert "to go" not in text
    print_summary(totals(0), config, {}, 1, Lag({("in", 0): 1200}))
    assert "to go            1,200 records" in capsys.readouterr().out
    print_summary(totals(0), config, {}, 1)
    assert "failed" in capsys.readouterr().out
    write_summary(totals(), tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text())["records"] == 10
    write_summary(totals(), tmp_path / "summary.json", Lag({("in", 1): 2, ("in", 0): 1}))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["lag"] == {"records": 3, "by_partition": {"in/0": 1, "in/1": 2}}
