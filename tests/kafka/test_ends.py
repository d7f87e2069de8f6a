"""The ends of ``--until_end``: those at the start, or those of a topic that was made again since."""

from __future__ import annotations

import logging
import math

import pytest

from transforms.kafka.config import Partition
from transforms.kafka.ends import Ends
from transforms.kafka.stop import StopConditions

A, B, OTHER = ("in", 0), ("in", 1), ("other", 0)


def ends(identity: str = "1@c") -> Ends:
    stop = StopConditions(
        end_offsets=((A, 5), (B, 0), (OTHER, 7)), pending=(A, OTHER), identities=(("in", identity), ("other", "9@c"))
    )
    return Ends(stop)


def test_they_are_those_at_the_start() -> None:
    found = ends()
    found.follow({"in": "1@c", "other": "9@c"})
    assert found.are_known
    assert [found.of(it) for it in (A, B, OTHER, ("in", 2))] == [5, 0, 7, 0], "a partition that came later is not read"
    assert found.pending == {A: 5, OTHER: 7}


def test_those_of_a_topic_that_was_made_again_are_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """While they are not known, it is read on, and the job does not end. The other topic keeps its ends."""
    found = ends()
    answers: list[dict[Partition, int] | None] = [None, {A: 0, ("in", 2): 3}]
    asked: list[str] = []

    def ends_of(topic: str) -> dict[Partition, int] | None:
        asked.append(topic)
        return answers.pop(0)

    found.follow({"in": "2@c", "other": "9@c"})
    found.renew(ends_of)
    assert (found.are_known, found.of(A), found.of(OTHER), found.pending) == (False, math.inf, 7, {OTHER: 7})
    with caplog.at_level(logging.WARNING):
        found.renew(ends_of)
    assert found.are_known
    assert [found.of(it) for it in (A, B, ("in", 2))] == [0, 0, 3]
    assert found.pending == {("in", 2): 3, OTHER: 7}, "nothing is awaited of an empty partition"
    assert "in was deleted and made again; it is read up to its own ends" in caplog.text
    found.follow({"in": "2@c"})
    found.renew(ends_of)
    assert asked == ["in", "in"], "once it is known it is not asked for again"


@pytest.mark.parametrize(("at_start", "now"), [("", "2@c"), ("1@c", "")])
def test_an_identity_that_is_not_known_says_nothing(at_start: str, now: str) -> None:
    found = ends(at_start)
    found.follow({"in": now})
    assert found.are_known
    assert found.of(A) == 5
