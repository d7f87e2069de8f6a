"""The embedded demo: when a job over its records ends."""

from __future__ import annotations

import pytest

from pipeline.demo import Demo
from pipeline.reporting.status import Status
from tests.pipeline.cli.parsing import parse
from transforms.kafka.stop import StopConditions

EMPTY = (("digits", 0), 0)
"""A partition with its end when the job starts: the generator has published nothing yet."""


def test_until_end_is_the_end_of_what_the_generator_publishes() -> None:
    """It was the end of the empty topic: no record was answered, and the status was 0."""
    found = ends(StopConditions(end_offsets=(EMPTY,), identities=(("digits", "id"),)), "--until_end")
    assert found == StopConditions(max_records=1_817)


def test_without_a_condition_it_ends_after_its_records() -> None:
    assert ends(StopConditions()) == StopConditions(max_records=1_817)


def test_what_ends_it_before_still_does() -> None:
    asked = StopConditions(end_offsets=(EMPTY,), max_records=5, drain_at_s=9.0)
    assert ends(asked, "--until_end", "--max_records=5") == StopConditions(max_records=5, drain_at_s=9.0)
    more = StopConditions(end_offsets=(EMPTY,), max_records=9_999)
    assert ends(more, "--until_end", "--max_records=9999") == StopConditions(max_records=1_817)


@pytest.mark.parametrize("flag", ["--max_records=5", "--duration_s=2"])
def test_one_condition_is_enough(flag: str) -> None:
    """With --duration_s alone the demo's records are not counted, as before: they may be fewer than its time."""
    asked = StopConditions(max_records=5) if "max" in flag else StopConditions(drain_at_s=2.0)
    assert ends(asked, flag) == asked


def test_behind_the_page_it_publishes_round_after_round() -> None:
    assert ends(StopConditions(), "--status_port=1") == StopConditions()
    assert ends(StopConditions(end_offsets=(EMPTY,)), "--status_port=1", "--until_end").max_records == 1_817


def ends(asked: StopConditions, *flags: str) -> StopConditions:
    """When a job with these flags ends, once the parts have counted the records."""
    demo = Demo(parse(*flags), Status())
    demo.records = 1_817
    return demo.stop(asked)
