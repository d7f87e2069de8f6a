"""A soak run notices what grows."""

from __future__ import annotations

import dataclasses

import pytest

from tests.chaos.soak import Sample, grown, quarters

STEADY = Sample(step_s=1.0, rss_mb=300.0, files=40, threads=20)


def test_a_steady_process() -> None:
    warm_up = [dataclasses.replace(STEADY, rss_mb=150.0)] * 4
    assert grown(quarters([*warm_up, *[STEADY] * 12])) == []


@pytest.mark.parametrize(
    ("late", "text"),
    [
        ({"rss_mb": 400.0}, "memory grew from 300 to 400 MB"),
        ({"files": 60}, "open files grew from 40 to 60"),
        ({"threads": 40}, "threads grew from 20 to 40"),
        ({"step_s": 3.0}, "a step took 3.0 s after 1.0 s"),
    ],
)
def test_what_grows(late: dict[str, float], text: str) -> None:
    leaking = dataclasses.replace(STEADY, **late)  # type: ignore[arg-type]
    assert grown(quarters([*[STEADY] * 8, *[leaking] * 8])) == [text]
