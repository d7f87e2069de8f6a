"""What a person sees: lines when something has changed, a table on a terminal, and the summary."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pipeline.cli import options
from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.status import LiveStatus, PlainStatus, Status, open_status, print_summary, write_summary


def totals(records: int = 10, holding: str | None = None) -> Totals:
    worker = WorkerStats()
    if records:
        worker.committed(records - 2, {"Tombstone": 1, "Rejected": 1}, [(4.0, records)])
        worker.answered(records)
    worker.holding(holding)
    return Totals(worker.rows)


class Latest:
    latest = (("k1", "7", "right"), ("k2", "8", "wrong, it is 3"))

    def accuracy(self) -> dict[str, tuple[int, int]]:
        return {}


def test_a_plain_line_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    status = PlainStatus()
    status.show(totals(12_345), 678.9, Latest())
    line = capsys.readouterr().out
    assert "12,345 records, 12,343 predictions, 2 dead letters, 679/s" in line
    assert "latest: k2 → 8 (wrong, it is 3)" in line


def test_a_line_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    status = PlainStatus()
    for _ in range(3):
        status.show(totals(), 0.0, None)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_waiting_for_the_model_server_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    PlainStatus().show(totals(holding="the model server: connection refused"), 0.0, None)
    assert "WAITING for the model server: connection refused" in capsys.readouterr().out


def test_off_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status = open_status("off")
    status.say("hello")
    status.show(totals(), 0.0, None)
    print_summary(totals(), options.parse(["--status=off"]), {}, 0)
    assert capsys.readouterr().out == ""


def test_auto_is_plain_where_there_is_no_terminal() -> None:
    assert type(open_status("auto")) is PlainStatus
    assert type(open_status("live")) is LiveStatus


def test_watching_shows_again_and_again_and_ends() -> None:
    shown = threading.Event()
    rates: list[float] = []

    class Short(Status):
        interval_s = 0.001

        def show(self, totals: Totals, rate: float, predictions: object) -> None:
            rates.append(rate)
            if len(rates) == 3:
                shown.set()

    with Short().watching(lambda: totals(10 * (len(rates) + 1)), None):
        assert shown.wait(10)
    count = len(rates)
    assert all(rate > 0 for rate in rates)
    assert not [thread for thread in threading.enumerate() if thread.name == "status"]
    assert len(rates) == count


def test_the_live_table(capsys: pytest.CaptureFixture[str]) -> None:
    status = LiveStatus()
    with status.watching(lambda: totals(), None):
        status.show(totals(12_345, holding="[bold]down[/]"), 678.9, Latest())
        status.say("[red]not markup[/]")
    assert "[red]not markup[/]" in capsys.readouterr().out


def test_the_summary(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = options.parse([])
    print_summary(totals(), config, {"all": (8, 10)}, 0)
    text = capsys.readouterr().out
    for expected in ("done", "records", "dead letters     2 (Rejected 1, Tombstone 1)", "80.0% (8 of 10 right)", "next"):
        assert expected in text
    assert "retries" not in text
    print_summary(totals(0), config, {}, 1)
    assert "failed" in capsys.readouterr().out
    write_summary(totals(), tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text())["records"] == 10
