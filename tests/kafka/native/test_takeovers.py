"""How long a shard waits that was fenced: longer each time, at random, and two that want the same settle."""

from __future__ import annotations

import random

from transforms.kafka.native.takeovers import FIRST_S, LONGEST_S, QUIET_S, Takeovers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_wait_grows_and_is_bounded() -> None:
    clock = Clock()
    takeovers = Takeovers(clock, lambda: 1.0)
    waits = []
    for times in range(1, 12):
        assert takeovers.fenced("shard") == times
        waits.append(takeovers.wait_s("shard"))
    assert waits[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waits[-1] == LONGEST_S
    clock.now += LONGEST_S
    assert takeovers.wait_s("shard") == 0.0


def test_who_was_never_fenced_does_not_wait() -> None:
    takeovers = Takeovers(Clock(), lambda: 1.0)
    takeovers.fenced("one")
    assert takeovers.wait_s("other") == 0.0


def test_after_a_quiet_time_it_counts_anew() -> None:
    clock = Clock()
    takeovers = Takeovers(clock, lambda: 1.0)
    for _ in range(5):
        takeovers.fenced("shard")
    clock.now += QUIET_S + 0.1
    assert takeovers.fenced("shard") == 1


def test_two_owners_settle() -> None:
    """Each fences the other when its wait is over, and then needs a second for a bundle. Both come to commits."""
    clock, chooser = Clock(), random.Random(7)
    owners = {name: Takeovers(clock, chooser.random) for name in ("old", "new")}
    commits = dict.fromkeys(owners, 0)
    holder, since = "old", 0.0
    for _ in range(6_000):  # ten minutes
        clock.now += 0.1
        other = "new" if holder == "old" else "old"
        if clock.now - since >= 1.0:
            commits[holder] += 1
            since = clock.now
        if owners[other].wait_s("shard") == 0.0:
            owners[holder].fenced("shard")
            holder, since = other, clock.now
    assert sum(commits.values()) > 400, "most of the time somebody is left alone"
    assert min(commits.values()) > 50
