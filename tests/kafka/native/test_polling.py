"""How much a bundle reads, and when reading ends; against a session that hands out what the test says."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, cast

import pytest

from tests.kafka.native.fake_session import FakeSession, finished, make, read
from transforms.kafka.native.bundle import NOTHING_CARRIED, Carried
from transforms.kafka.native.polling import FIRST_READ, IDLE_POLL_S, SHRINKS
from transforms.kafka.native.session import Session
from transforms.kafka.stop import SharedBudget, StopConditions, request_drain
from transforms.memory import Memory

pytestmark = pytest.mark.usefixtures("not_draining")


# ---------------------------------------------------------------------- how much


def test_little_to_read_is_handed_over_at_once() -> None:
    kafka = FakeSession(3)
    assert read(make(kafka), kafka) == [3]
    assert kafka.polls == [(FIRST_READ, IDLE_POLL_S, False)]


def test_nothing_to_read_is_an_empty_bundle_after_a_short_wait() -> None:
    kafka = FakeSession()
    assert read(make(kafka), kafka) == []
    assert kafka.polls == [(FIRST_READ, IDLE_POLL_S, False)]


def test_a_backlog_is_read_on_and_on_up_to_the_limit() -> None:
    """A large bundle, because its end is a barrier; and without waiting once the backlog is seen."""
    kafka = FakeSession(*[FIRST_READ] * 100)
    sizes = read(make(kafka, max_bundle_records=5_000, chunk_records=1_000), kafka)
    assert sum(sizes) == 5_000
    assert [timeout_s for _, timeout_s, _ in kafka.polls] == [IDLE_POLL_S, 0.0, 0.0]
    assert kafka.polls[-1][0] == 5_000 - 2 * FIRST_READ


def test_the_end_of_a_backlog_ends_the_bundle() -> None:
    kafka = FakeSession(FIRST_READ, FIRST_READ, 5, FIRST_READ)
    assert sum(read(make(kafka), kafka)) == 2 * FIRST_READ + 5
    assert kafka.left_more == 0


@pytest.mark.parametrize("bound", [{"max_bundle_records": 5_000}, {"max_bundle_s": 0.0}, {"memory": Memory(1_000)}])
def test_a_bundle_that_ends_at_a_bound_leaves_more_to_read(bound: dict[str, Any]) -> None:
    """Then it need not wait for its last answers."""
    kafka = backlog(0)
    read(make(kafka, **bound), kafka)
    assert kafka.left_more == 1


def test_a_bundle_whose_last_poll_found_less_than_it_may_have_leaves_nothing() -> None:
    for found in ([3], [], [FIRST_READ, 0]):
        kafka = FakeSession(*found)
        read(make(kafka), kafka)
        assert kafka.left_more == 0


def test_carried_records_count_in_a_bundles_bytes_and_not_in_its_number() -> None:
    """Else those of many slots could leave no room for what is to keep the slots busy."""
    kafka = backlog(0)
    kafka.inherited = Carried({}, 5_000, 100)
    assert sum(read(make(kafka, max_bundle_records=5_000), kafka)) == 5_000
    kafka = backlog(0)
    kafka.inherited = Carried({}, 5_000, Memory().bundle)
    assert sum(read(make(kafka), kafka)) == FIRST_READ, "one poll all the same"


def test_a_bundle_takes_no_longer_than_it_may() -> None:
    kafka = FakeSession(*[FIRST_READ] * 100)
    kafka.poll_takes_s = 0.2
    assert sum(read(make(kafka, max_bundle_s=0.5), kafka)) == 3 * FIRST_READ


def backlog(value_bytes: int, polls: int = 100) -> FakeSession:
    kafka = FakeSession(*[FIRST_READ] * polls)
    kafka.value_bytes = value_bytes
    return kafka


def test_a_bundle_of_large_records_ends_by_its_bytes() -> None:
    """After its first poll it is known how large they are; a poll asks for no more than fit."""
    memory = Memory(24_000_000)
    kafka = backlog(50_000)
    polling = make(kafka, memory=memory)
    kafka.available[0] = 3  # what librdkafka has fetched by then
    assert sum(read(polling, kafka)) == 3
    kafka.polls.clear()
    total = 50_000 * sum(read(polling, kafka))
    assert memory.bundle - memory.fetch < total <= memory.bundle
    assert all(most * 50_000 <= memory.fetch for most, _, _ in kafka.polls)


def test_outputs_that_are_kept_end_a_bundle_too() -> None:
    """Those of the commit under way count, so that the next bundle does not come on top."""
    kafka = backlog(0)
    kafka.output_bytes = Memory().bundle
    polling = make(kafka)
    assert sum(read(polling, kafka)) == FIRST_READ, "one poll all the same: else nothing would go on"
    kafka.output_bytes = 0
    assert sum(read(polling, kafka)) > FIRST_READ


def test_a_record_larger_than_any_share_is_read_alone() -> None:
    memory = Memory(100_000)
    kafka = backlog(1_000_000, polls=3)
    kafka.available[0] = 1
    polling = make(kafka, memory=memory)
    assert [read(polling, kafka) for _ in range(3)] == [[1], [1], [1]]
    assert kafka.polls[1:] == [(1, IDLE_POLL_S, False)] * 2


def test_larger_records_are_expected_at_once_and_smaller_ones_by_and_by() -> None:
    """One poll of small records between large ones must not make the next poll of large ones a thousand times too large."""
    memory = Memory(24_000_000)
    kafka = backlog(50_000)
    polling = make(kafka, memory=memory)
    read(polling, kafka)
    kafka.value_bytes, kafka.available = 50, [10] * 100
    asked = []
    for _ in range(30):
        kafka.polls.clear()
        read(polling, kafka)
        asked.append(kafka.polls[0][0])
    assert asked[0] < 100
    assert all(before <= after <= before / SHRINKS + 2 for before, after in itertools.pairwise(asked))
    assert asked[-1] == FIRST_READ


def test_chunks_of_large_records_are_small() -> None:
    kafka = backlog(50_000, polls=1)
    memory = Memory()
    sizes = read(make(kafka, memory=memory), kafka)
    assert sum(sizes) == FIRST_READ
    assert all(50_000 * size <= memory.request for size in sizes)
    assert min(sizes[:-1]) > 1


def test_chunks_have_the_size_asked_for_and_keep_the_order() -> None:
    kafka = FakeSession(25)
    chunks = list(make(kafka, chunk_records=10).chunks(cast(Session, kafka)))
    assert [[record.offset for record in chunk] for chunk in chunks] == [
        list(range(10)),
        list(range(10, 20)),
        list(range(20, 25)),
    ]


def test_a_drain_ends_the_bundle_that_reads() -> None:
    kafka = FakeSession(*[FIRST_READ] * 100)
    polling = make(kafka)
    chunks = polling.chunks(cast(Session, kafka))
    next(chunks)
    request_drain()
    assert sum(len(chunk) for chunk in chunks) + polling.config.chunk_records == FIRST_READ
    assert finished(polling, kafka)


# ---------------------------------------------------------------------- waiting for a batch to fill


def at_rate(records_per_s: float, *, bundles: int = 60, have: int = 10, **options: Any) -> FakeSession:
    """Bundles of ``have`` records each, at a steady rate; ``polls`` then holds those of one more bundle."""
    kafka = FakeSession()
    polling = make(kafka, **options)
    kafka.poll_takes_s = 0.0
    for _ in range(bundles + 1):
        kafka.available, kafka.polls = [have, 0], []
        kafka.now += have / records_per_s
        read(polling, kafka)
    return kafka


def test_it_waits_for_a_batch_that_will_fill_in_time() -> None:
    kafka = at_rate(10_000, batch_max_size=64, batch_max_wait_ms=20)
    assert kafka.polls == [(FIRST_READ, IDLE_POLL_S, False), (54, 0.02, True)]


def test_it_does_not_wait_for_a_batch_that_will_not() -> None:
    """54 more at 2,000 a second are 27 ms away: waiting would only delay those that are here."""
    assert len(at_rate(2_000, batch_max_size=64, batch_max_wait_ms=20).polls) == 1


def test_the_wait_can_be_switched_off() -> None:
    assert len(at_rate(100_000, batch_max_size=64, batch_max_wait_ms=0).polls) == 1


def test_no_wait_where_nothing_came_or_the_batch_is_full() -> None:
    assert len(at_rate(10_000, have=64, batch_max_size=64).polls) == 1
    kafka = at_rate(10_000, batch_max_size=64)
    kafka.available, kafka.polls = [0], []
    read(make(kafka), kafka)
    assert len(kafka.polls) == 1


def test_what_the_wait_brings_belongs_to_the_bundle() -> None:
    kafka = FakeSession(2_000)
    polling = make(kafka, chunk_records=256)
    assert sum(read(polling, kafka)) == 2_000  # in a millisecond
    kafka.available = [10, 54]
    assert read(polling, kafka) == [64]


# ---------------------------------------------------------------------- budgets


def test_no_more_than_the_budget_is_read_and_then_it_is_over() -> None:
    kafka = FakeSession(7, 100)
    polling = make(kafka, StopConditions(max_records=10))
    assert not finished(polling, kafka)
    assert read(polling, kafka) == [7]
    kafka.commit(7)
    assert not finished(polling, kafka)
    assert read(polling, kafka) == [3]
    kafka.commit(3)
    assert finished(polling, kafka)


def test_a_rollback_gives_its_share_of_the_budget_back() -> None:
    kafka = FakeSession(10, 10)
    polling = make(kafka, StopConditions(max_records=10))
    for _ in range(2):
        assert not finished(polling, kafka)
        assert read(polling, kafka) == [10]  # the first time nothing is committed
    kafka.commit(10)
    assert finished(polling, kafka)


def test_carried_records_stay_reserved() -> None:
    """Else they would be read by somebody else as well, and the budget passed."""
    kafka = FakeSession(10, 10)
    polling = make(kafka, StopConditions(max_records=10))
    assert not finished(polling, kafka)
    assert read(polling, kafka) == [10]
    kafka.commit(6)
    kafka.inherited = Carried({}, 4, 0)
    assert not finished(polling, kafka)
    assert read(polling, kafka) == []
    assert kafka.left_more == 0
    kafka.commit(4)
    kafka.inherited = NOTHING_CARRIED
    assert finished(polling, kafka)


def test_while_others_use_the_budget_up_we_stay_in_the_group(tmp_path: Path) -> None:
    SharedBudget(tmp_path / "budget", 10, 0, 2).reserve(10)
    kafka = FakeSession(5, 5)
    polling = make(kafka, StopConditions(max_records=10, budget_file=str(tmp_path / "budget"), worker=1))
    assert not finished(polling, kafka), "not spent: the other may yet roll back"
    assert read(polling, kafka) == []
    assert (kafka.polls, kafka.nothing) == ([], [IDLE_POLL_S])
