"""How much a bundle reads, and when reading ends; against a session that hands out what the test says."""

from __future__ import annotations

import dataclasses
import fcntl
import itertools
import multiprocessing
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.bundle import NOTHING_CARRIED, Bundle, Carried
from transforms.kafka.native.commits import Commit, Commits, at_once
from transforms.kafka.native.polling import CHECK_COMMITTED_S, FIRST_READ, IDLE_POLL_S, SHRINKS, Polling
from transforms.kafka.native.session import Session
from transforms.kafka.stop import LocalBudget, SharedBudget, StopConditions, request_drain
from transforms.memory import Memory
from transforms.types import KafkaRecord

pytestmark = pytest.mark.usefixtures("not_draining")

A, B = ("in", 0), ("in", 1)


class FakeSession:
    """As much of a session as ``Polling`` sees. ``available``: what each poll finds, then nothing."""

    def __init__(self, *available: int):
        self.available = list(available)
        self.polls: list[tuple[int, float, bool]] = []
        self.nothing: list[float] = []
        self.reader = SimpleNamespace(
            owned={A, B},
            group_has_committed=self._group_has_committed,
            identities={},
            end_offsets=lambda topic: self.ends,
        )
        self.commits = Commits()
        self.group: dict[Partition, int] = {}
        self.asked_group = 0
        self.ends: dict[Partition, int] | None = None
        self.beyond: list[KafkaRecord] = []
        self.now = 50.0
        self.poll_takes_s = 0.001
        self.output_bytes = 0
        self.value_bytes = 0
        self.inherited = NOTHING_CARRIED
        self.left_more = 0
        self._offset = 0

    def poll(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        self.polls.append((most, timeout_s, fill))
        self.now += self.poll_takes_s
        count = min(most, self.available.pop(0) if self.available else 0)
        first, self._offset = self._offset, self._offset + count
        return [KafkaRecord("in", 0, offset, 0, None, bytes(self.value_bytes), []) for offset in range(first, first + count)]

    def poll_nothing(self, wait_s: float) -> None:
        self.nothing.append(wait_s)

    def leave_more(self) -> None:
        self.left_more += 1

    def commit(self, count: int) -> None:
        self.commits.final(Commit(Bundle(read=count), {}, at_once(lambda: 0.0)))

    def finish_commit(self) -> bool:
        return True

    def drop_beyond_end(self, beyond: list[KafkaRecord]) -> None:
        self.beyond += beyond

    def has_read_beyond(self, end_of: object) -> bool:
        return True  # the real one only spares the looking: test_session.py

    def _group_has_committed(self, ends: dict[Partition, int]) -> bool:
        self.asked_group += 1
        return all(self.group.get(partition, -1) >= end for partition, end in ends.items())


def make(kafka: FakeSession, stop: StopConditions | None = None, **options: Any) -> Polling:
    config = KafkaConfig("m", ("in",), "g", **options)
    return Polling(config, stop or StopConditions(), lambda: kafka.now)


def read(polling: Polling, kafka: FakeSession) -> list[int]:
    """One bundle; the sizes of its chunks."""
    return [len(chunk) for chunk in polling.chunks(cast(Session, kafka))]


def finished(polling: Polling, kafka: FakeSession) -> bool:
    return polling.finished(cast(Session, kafka))


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


@pytest.fixture(params=["local", "shared"])
def budget(request: pytest.FixtureRequest, tmp_path: Path) -> LocalBudget | SharedBudget:
    return LocalBudget(100) if request.param == "local" else SharedBudget(tmp_path / "budget", 100, 0, 1)


def test_the_arithmetic_of_a_budget(budget: LocalBudget | SharedBudget) -> None:
    assert budget.reserve(60) == 60
    assert budget.reserve(60) == 40
    assert budget.reserve(60) == 0
    budget.release(30)
    assert not budget.spent()
    assert budget.reserve(100) == 70
    assert not budget.spent(), "reserved is not committed"
    budget.release(50, kept=15)
    assert not budget.spent()
    assert budget.reserve(100) == 5, "what is kept is not free"
    budget.release(20)
    assert budget.spent()
    assert budget.reserve(1) == 0


def test_a_worker_with_nothing_to_read_lets_those_that_wait_go_first(tmp_path: Path) -> None:
    """Else it reserves the rest again whenever it gives it back, and the one whose partitions have it gets no record."""
    idle, other = SharedBudget(tmp_path / "budget", 100, 0, 2), SharedBudget(tmp_path / "budget", 100, 1)
    assert idle.reserve(2048) == 100
    assert other.reserve(2048) == 0
    idle.release(0)
    assert idle.reserve(2048) == 0
    assert other.reserve(2048) == 100
    assert idle.reserve(2048) == 0
    other.release(0)
    assert other.reserve(2048) == 0, "it had nothing to read either"
    assert idle.reserve(2048) == 100
    idle.release(100)
    assert idle.spent()
    assert other.spent()


def test_it_does_not_wait_for_one_that_is_gone_or_for_nobody(tmp_path: Path) -> None:
    idle, gone = SharedBudget(tmp_path / "budget", 100, 0, 2), SharedBudget(tmp_path / "budget", 100, 1)
    for _ in range(3):
        assert idle.reserve(2048) == 100, "nobody waits"
        idle.release(0)
    assert idle.reserve(2048) == 100
    assert gone.reserve(1) == 0
    idle.release(0)
    granted = [idle.reserve(2048) for _ in range(10)]
    assert 100 in granted
    idle.release(0)
    SharedBudget(tmp_path / "budget", 100, 1)  # started again
    assert idle.reserve(2048) == 100


def test_workers_never_take_more_than_the_budget_together(tmp_path: Path) -> None:
    """Three processes, some of their bundles rolled back: what they commit sums up to the budget exactly."""
    path = tmp_path / "budget"
    SharedBudget(path, 5_000, 0, 3)
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:
        used = pool.starmap(_use_up, [(str(path), worker) for worker in range(3)])
    assert sum(used) == 5_000
    assert SharedBudget(path, 5_000, 0).spent()


def _use_up(path: str, worker: int) -> int:
    budget, used, bundle = SharedBudget(path, 5_000, worker), 0, 0
    while not budget.spent():
        granted, bundle = budget.reserve(17), bundle + 1
        committed = 0 if bundle % 3 == 0 else granted
        budget.release(committed)
        used += committed
    return used


def test_a_budget_is_changed_under_the_files_lock(tmp_path: Path) -> None:
    """Reading and writing it are two steps; whoever comes between would grant the same records again."""
    path = tmp_path / "budget"
    budget = SharedBudget(path, 100, 0, 2)
    for change in (lambda: budget.reserve(1), lambda: budget.release(1), budget.spent):
        with path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            thread = threading.Thread(target=change)
            thread.start()
            thread.join(0.05)
            assert thread.is_alive()
        thread.join(10)
        assert not thread.is_alive()


def test_a_killed_workers_reservation_is_freed_by_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "budget"
    SharedBudget(path, 100, 0, 2)
    pid = os.fork()
    if pid == 0:
        victim = SharedBudget(path, 100, 1)
        victim.reserve(30)
        victim.release(30)
        victim.reserve(70)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    other = SharedBudget(path, 100, 0)
    assert other.reserve(100) == 0
    SharedBudget(path, 100, 1)
    assert other.reserve(100) == 70, "what it had committed stays counted"


# ---------------------------------------------------------------------- ends


def to_ends(**ends: int) -> StopConditions:
    found = tuple((("in", int(name[1:])), end) for name, end in ends.items())
    return StopConditions(end_offsets=found, pending=tuple(partition for partition, _ in found))


def test_records_beyond_the_ends_are_left_out() -> None:
    kafka = FakeSession(10)
    assert read(make(kafka, to_ends(p0=6, p1=3)), kafka) == [6]
    assert [record.offset for record in kafka.beyond] == [6, 7, 8, 9]


def test_it_ends_when_all_ends_are_committed() -> None:
    kafka = FakeSession()
    polling = make(kafka, to_ends(p0=6, p1=3))
    for committed, over in (({}, False), ({A: 6}, False), ({A: 6, B: 2}, False), ({A: 6, B: 3}, True)):
        kafka.commits.offsets = committed
        assert finished(polling, kafka) is over
    assert kafka.asked_group == 0, "all of it is ours: nobody else needs to be asked"


def test_with_nothing_to_read_it_ends_at_once() -> None:
    kafka = FakeSession()
    assert finished(make(kafka, StopConditions(end_offsets=())), kafka)
    assert finished(make(kafka, StopConditions(end_offsets=((A, 5),), pending=())), kafka), "the group has committed the end"


def test_the_shares_of_others_are_asked_for_now_and_then() -> None:
    kafka = FakeSession()
    kafka.reader.owned = {A}
    kafka.commits.offsets = {A: 6}
    polling = make(kafka, to_ends(p0=6, p1=3))
    for _ in range(10):
        assert not finished(polling, kafka)
        kafka.now += CHECK_COMMITTED_S / 5
    assert kafka.asked_group == 2
    kafka.group = {A: 6, B: 3}
    kafka.now += CHECK_COMMITTED_S
    assert finished(polling, kafka)


def test_a_member_that_owns_nothing_waits_for_the_others() -> None:
    kafka = FakeSession()
    kafka.reader.owned = set()
    polling = make(kafka, to_ends(p0=6))
    assert not finished(polling, kafka)
    kafka.group, kafka.now = {A: 6}, kafka.now + 1
    assert finished(polling, kafka)


def test_a_deadline() -> None:
    kafka = FakeSession()
    assert finished(make(kafka, StopConditions(drain_at_s=1.0)), kafka)
    assert not finished(make(kafka, StopConditions(drain_at_s=1e12)), kafka)


def test_a_topic_that_is_made_again_is_read_to_its_own_ends() -> None:
    """Its partitions, too; and while Kafka does not say its ends, nothing is left out, and nothing ends."""
    kafka = FakeSession(9, 9)
    stop = dataclasses.replace(to_ends(p0=3), identities=(("in", "a@c"),))
    polling = make(kafka, stop)
    kafka.commits.offsets = {A: 3}
    kafka.reader.identities = {"in": "b@c"}
    assert not finished(polling, kafka)
    assert read(polling, kafka) == [9]
    kafka.ends = {A: 12, B: 2, ("in", 2): 0}
    kafka.commits.offsets = {A: 12}
    assert not finished(polling, kafka)
    assert read(polling, kafka) == [3]
    kafka.commits.offsets = {A: 12, B: 2}
    assert finished(polling, kafka)


@pytest.mark.parametrize("now", ["", "a@c", "b@another cluster"])
def test_what_is_not_known_to_be_another_topic_is_read_to_the_ends_of_the_start(now: str) -> None:
    kafka = FakeSession(9)
    polling = make(kafka, dataclasses.replace(to_ends(p0=3), identities=(("in", "a@c"),)))
    kafka.reader.identities = {"in": now}
    kafka.commits.offsets = {A: 3}
    assert finished(polling, kafka)


@pytest.mark.parametrize("stop", [StopConditions(drain_at_s=1.0), StopConditions(end_offsets=())])
def test_what_is_carried_is_answered_by_one_more_bundle_that_reads_nothing(stop: StopConditions) -> None:
    kafka = FakeSession(FIRST_READ, FIRST_READ)
    polling = make(kafka, stop)
    kafka.inherited = Carried({}, 4, 0)
    assert not finished(polling, kafka)
    assert read(polling, kafka) == []
    assert (kafka.polls, kafka.left_more) == ([], 0)
    kafka.inherited = NOTHING_CARRIED
    assert finished(polling, kafka)


def test_without_any_condition_it_goes_on_until_it_is_drained() -> None:
    kafka = FakeSession()
    polling = make(kafka)
    assert not finished(polling, kafka)
    request_drain()
    assert finished(polling, kafka)
