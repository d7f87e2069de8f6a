"""The limit against simulated servers, in virtual time (``bench/limiter.py``): found soon, and near the best fixed one."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest

from bench.limiter import FOUND_S, Row, Server, Simulation, measure, measure_one, rows, table
from transforms.predict.adaptive_limit import LEAST, MOST, OUTAGE, SLOW_START, START, AdaptiveLimit, Slot

BATCHES = 16
"""Of a server that batches: with so many more at once each takes twice as long, and it gets more done all the same."""


@functools.cache
def simulated() -> Sequence[Row]:
    return rows()


def test_it_is_near_the_best_fixed_limit_for_every_server() -> None:
    """Within a tenth after 3 s, and never less than half, for servers of 0 to 1,000 ms with 1 to 256 requests at once."""
    assert all(row.passed for row in simulated()), f"\n{table(list(simulated()))}"


def test_it_stops_in_time() -> None:
    """What is in flight above the best fixed limit waits in a queue: four times the best for a moment, or the first."""
    high = [row for row in simulated() if row.limits[-1] > max(START, 2 * row.best)]
    late = [row for row in simulated() if row.longest_s > max(4.5, START / row.server.capacity) * row.server.service_s + 0.1]
    assert not high, f"\n{table(high)}"
    assert not late, f"\n{table(late)}"


def test_more_in_flight_costs_nothing_where_the_server_is_not_what_bounds() -> None:
    """A server of 0 ms: this process is what takes time, and four times as many in flight make it slower."""
    row = next(row for row in simulated() if row.server.service_s == 0)
    assert max(row.limits) <= START
    assert row.share >= 0.98


@pytest.mark.parametrize("ms", [20, 200, 1000])
def test_a_server_that_batches_is_not_taken_for_a_full_one(ms: int) -> None:
    """Its round trip grows with what is in flight from the first request on, and so does its rate."""
    row = measure_one(Server(ms / 1000, MOST, batches=BATCHES))
    assert row.share >= 0.75, f"\n{table([row])}"
    assert row.limits[-1] >= 4 * START


@pytest.mark.parametrize("most", [3, 6, 40, 200])
def test_a_server_that_refuses_is_not_asked_for_much_more(most: int) -> None:
    """It takes so many at once, and answers the others with an error at once."""
    server = Server(0.02, MOST, refuses_above=most)
    run = Simulation(server).run(15.0)
    assert run.refused <= 0.01 * len(run.answered_at) + MOST
    late = Simulation(server, server.best()).run(15.0).rate(FOUND_S, 15.0)
    assert run.rate(FOUND_S, 15.0) >= 0.65 * late, (run.limits, run.refused)


def test_it_follows_a_server_that_becomes_slower_for_good_or_smaller_or_larger() -> None:
    """Ten times slower without a queue: no fewer in flight. Fewer at once: fewer in flight. More at once: more."""
    for before, after, seconds in (
        (Server(0.02, 32), Server(0.2, 32), 10),
        (Server(0.02, 32), Server(0.02, 4), 20),
        (Server(0.2, 4), Server(0.2, 128), 20),
    ):
        run = Simulation(before).run(5.0)
        run.server = after
        run.run(5.0 + seconds)
        best = after.rate(after.best())
        assert run.rate(seconds, 5.0 + seconds) >= 0.9 * best, (before, after, run.limits)
        assert max(run.limits[-3:]) <= max(START, 3 * after.best()), (before, after, run.limits)


@pytest.mark.parametrize("server", [Server(0.2, 32), Server(0.2, 256), Server(0.02, 4)])
def test_bundles_with_a_barrier_are_not_taken_for_a_slow_server(server: Server) -> None:
    """The tail of a bundle, when fewer and fewer are in flight, says nothing of the server."""
    row = measure_one(server, bundle=512)
    assert row.passed, f"\n{table([row])}"


def drive(limit: AdaptiveLimit, clock: list[float], latency_s: float, requests: int, among: int | None = None) -> None:
    """Answers requests one after the other, of which ``among`` (else as many as allowed) are in flight all the time."""
    for _ in range(requests):
        in_flight = among or limit.limit
        slot = limit.give(in_flight)
        clock[0] += latency_s / in_flight
        limit.answered(Slot(slot.number, in_flight, clock[0] - latency_s))


def an_adaptive_limit() -> tuple[AdaptiveLimit, list[float]]:
    clock = [0.0]
    return AdaptiveLimit(lambda: clock[0]), clock


def test_it_does_not_grow_while_it_holds_nothing_back() -> None:
    limit, clock = an_adaptive_limit()
    drive(limit, clock, 0.01, 5_000, among=START // 2 - 1)
    assert limit.limit == START


def test_single_records_of_an_idle_topic_are_no_measure_for_full_batches() -> None:
    """It stayed at its start for the life of the process: every batch was slower than they, as if it had queued."""
    limit, clock = an_adaptive_limit()
    drive(limit, clock, 0.002, 20, among=1)
    drive(limit, clock, 0.04, 20_000)
    assert limit.limit > MOST / 2


def test_it_grows_to_the_most_while_more_bring_more() -> None:
    limit, clock = an_adaptive_limit()
    drive(limit, clock, 0.2, 20_000)
    assert limit.limit > MOST / 2


def test_overload_halves_it_but_leaves_one() -> None:
    """With no answer between, there is no round trip to wait for."""
    limit, _ = an_adaptive_limit()
    limits = []
    for _ in range(6):
        limit.overloaded()
        limits.append(limit.limit)
    assert limits == [8, 4, 2, 1, 1, 1]


def test_refusals_of_one_round_trip_cut_it_once() -> None:
    """A server that is full refuses many that were sent together. What was sent after the cut counts again."""
    limit, clock = an_adaptive_limit()
    drive(limit, clock, 0.2, 10)
    assert limit.limit == SLOW_START * START
    for _ in range(20):
        clock[0] += 0.001
        limit.overloaded()
    assert limit.limit == START, "the growth that was refused is taken back"
    clock[0] += 0.2
    limit.overloaded()
    assert limit.limit == START // 2


def test_a_server_that_was_away_is_found_again_in_seconds() -> None:
    """Time-outs have cut the limit to one: it grows by slow start, and not by a half a test."""
    limit, clock = an_adaptive_limit()
    drive(limit, clock, 0.2, 200)
    for _ in range(12):
        clock[0] += 30.0
        limit.overloaded()
    assert limit.limit == 1
    back_at = clock[0]
    while limit.limit < 256:
        drive(limit, clock, 0.2, 1)
        assert clock[0] - back_at < 5.0, limit.limit


def test_a_server_that_refuses_a_little_is_no_server_that_was_away() -> None:
    """Fewer cuts than ``OUTAGE`` between two rounds: it goes on by tests."""
    limit, clock = an_adaptive_limit()
    drive(limit, clock, 0.2, 10)
    for _ in range(OUTAGE - 1):
        clock[0] += 1.0
        limit.overloaded()
    before = limit.limit
    drive(limit, clock, 0.2, 40)
    assert before <= limit.limit < SLOW_START * before


def test_tests_of_less_end_at_a_few() -> None:
    """A server of one at a time would be as fast with one in flight, if nobody ever paused."""
    run = Simulation(Server(0.02, 1)).run(20.0)
    assert min(run.limits) == LEAST
    assert run.limits[-1] <= 2 * LEAST


def test_the_table_of_the_benchmark_decides_by_the_worst_server() -> None:
    said: list[str] = []
    share, worst = measure(said.append)
    assert share.value == min(row.share for row in simulated())
    assert worst.value == min(row.worst for row in simulated())
    assert len(said[0].splitlines()) == 1 + len(simulated())
