"""Sessions on Kafka in memory: what makes a bundle void, what a rollback undoes, and what a commit covers.

``test_exactly_once.py`` has the whole as a property; here is each rule by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import confluent_kafka as ck
import pytest

from tests.kafka.memory_kafka import MemoryConsumer, MemoryKafka, MemoryProducer, Message, refused
from tests.kafka.test_exactly_once import outcome
from transforms.errors import FencedError, KafkaError
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE, KafkaConfig
from transforms.kafka.consumer import GroupReader, Partition, StaticReader
from transforms.kafka.producer import AcknowledgedWriter, TransactionalWriter
from transforms.kafka.session import CAUTIOUS_BUNDLES, KEEP_ALIVE_S, MAX_ROLLBACKS, Session
from transforms.observe import Observer, observer, set_observer
from transforms.types import KafkaRecord

A, B = ("in", 0), ("in", 1)


class Listener(Observer):
    def __init__(self) -> None:
        self.rollbacks: list[str] = []
        self.commits: list[tuple[int, dict[str, int], list[tuple[float, int]]]] = []
        self.owned: list[list[str]] = []

    def committed(self, predictions: int, dead_letters: object, latencies_ms: object) -> None:
        self.commits.append((predictions, dict(dead_letters), list(latencies_ms)))  # type: ignore[call-overload]

    def rolled_back(self, reason: str) -> None:
        self.rollbacks.append(reason)

    def assigned(self, partitions: object) -> None:
        self.owned.append(list(partitions))  # type: ignore[call-overload]


@pytest.fixture
def heard() -> Iterator[Listener]:
    before, listener = observer(), Listener()
    set_observer(listener)
    yield listener
    set_observer(before)


class Job:
    """A session, and the hands that turn it."""

    def __init__(self, *logs: list[bool], delivery: str = EXACTLY_ONCE, assign: bool = True, **options: object):
        self.kafka = MemoryKafka({("in", number): log for number, log in enumerate(logs)})
        self.steps: list[Callable[[], None] | None] = []
        self.now = 100.0
        self.consumer = MemoryConsumer(self.kafka, lambda _: self._step())
        self.producer = MemoryProducer(self.kafka)
        config = KafkaConfig("memory:9092", ("in",), "group", delivery=delivery, **options)  # type: ignore[arg-type]
        writer = TransactionalWriter if delivery == EXACTLY_ONCE else AcknowledgedWriter
        self.session = Session(
            config,
            clock=lambda: self.now,
            sleep=lambda _: None,
            open_writer=lambda c: writer(c, self.producer.opened),
            open_reader=lambda c: GroupReader(c, self.consumer.opened),
        )
        if assign:
            self.steps.append(lambda: self.consumer.assign(set(self.kafka.log)))

    def _step(self) -> None:
        step = self.steps.pop(0) if self.steps else None
        if step is not None:
            step()

    def read(self, most: int = 100, timeout_s: float = 0.1) -> list[tuple[int, int]]:
        self.records = self.session.poll(most, timeout_s)
        return sorted((record.partition, record.offset) for record in self.records)

    def write(self, records: list[KafkaRecord] | None = None) -> None:
        self.session.write([outcome(record) for record in (self.records if records is None else records)])

    def bundle(self) -> list[tuple[int, int]]:
        """Begins, reads, writes and commits one."""
        self.session.begin()
        found = self.read()
        self.write()
        self.session.commit()
        return found


# ---------------------------------------------------------------------- committing


def test_outputs_and_offsets_become_final_together() -> None:
    job = Job([True] * 3)
    job.session.begin()
    assert job.read() == [(0, 0), (0, 1), (0, 2)]
    job.write()
    assert (job.kafka.outputs, job.kafka.committed) == ([], {})
    assert job.session.commit()
    assert job.kafka.outputs == [(*A, 0), (*A, 1), (*A, 2)]
    assert job.kafka.committed == {A: 3}
    assert job.session.take_committed_count() == 3
    assert job.session.take_committed_count() == 0


def test_what_is_told_of_a_commit(heard: Listener) -> None:
    """Predictions, dead letters by class, and how long each poll's records took from being read."""
    job = Job([True] * 6)
    job.session.begin()
    job.read(most=4)
    first = job.records
    job.now += 0.5
    job.read()
    job.write([*first, *job.records])
    job.now += 0.25
    job.session.commit()
    assert heard.commits == [(4, {"E": 2}, [(750.0, 4), (250.0, 2)])]
    assert heard.owned == [["in/0"]]


def test_positions_past_markers_are_committed_too() -> None:
    """After the last record stand transaction markers: a group that stops short of them never seems to be done."""
    job = Job([True, False, True, False, False], [False, False])
    assert job.bundle() == [(0, 0), (0, 2)]
    assert job.kafka.committed == {A: 5, B: 2}


def test_positions_alone_are_committed_without_any_record() -> None:
    job = Job([False] * 3)
    assert job.bundle() == []
    assert job.kafka.committed == {A: 3}
    assert job.bundle() == []
    assert not job.producer.open, "and then there is nothing more to commit"


def test_a_bundle_of_nothing_opens_no_transaction() -> None:
    job = Job([])
    assert job.bundle() == []
    assert not job.producer.open


def test_ends_of_before_a_rebalance_say_nothing_after_it() -> None:
    """A partition goes right after its end was met, with its records uncommitted; it comes back, and they are still unread."""
    job = Job([True] * 2, [])
    job.steps = [
        lambda: job.consumer.assign({A, B}),
        None,
        None,
        None,
        lambda: job.consumer.revoke({A}),  # after both records and both ends, in the same call
    ]
    job.session.begin()
    assert job.read() == []
    job.session.commit()

    def comes_back() -> None:
        job.consumer.assign({A})
        job.consumer.paused.add(A)  # its first fetch has not come yet

    job.steps = [comes_back]
    assert job.bundle() == []
    assert A not in job.kafka.committed
    job.consumer.paused.clear()
    assert job.bundle() == [(0, 0), (0, 1)]


def test_every_record_must_have_its_outcome() -> None:
    job = Job([True] * 3, one_outcome_each=True)
    job.session.begin()
    job.read()
    job.write(job.records[1:])
    with pytest.raises(KafkaError, match="3 records were read, but 2 outcomes"):
        job.session.commit()
    assert job.kafka.outputs == []


def test_without_that_rule_a_filter_may_stand_between() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.write(job.records[1:])
    assert job.session.commit()
    assert job.kafka.committed == {A: 3}


# ---------------------------------------------------------------------- rolling back


def test_a_commit_that_is_refused_is_rolled_back_and_read_again(heard: Listener) -> None:
    job = Job([True] * 3)
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "no", abort=True))
    job.session.begin()
    first = job.read()
    job.write()
    assert not job.session.commit()
    assert (job.kafka.outputs, job.kafka.committed, job.producer.aborted) == ([], {}, 1)
    assert len(heard.rollbacks) == 1
    assert job.session.take_committed_count() == 0
    assert job.bundle() == first
    assert job.kafka.outputs == [(*A, 0), (*A, 1), (*A, 2)]


def test_a_retriable_error_is_tried_again_without_a_rollback(heard: Listener) -> None:
    job = Job([True] * 3)
    job.kafka.send_failures.append(refused(ck.KafkaError.NOT_COORDINATOR, retriable=True))
    job.kafka.commit_failures.append(refused(ck.KafkaError._TIMED_OUT, retriable=True))
    job.bundle()
    assert job.kafka.committed == {A: 3}
    assert heard.rollbacks == []


def test_a_bundle_that_never_came_to_its_commit_is_rolled_back_by_the_next(heard: Listener) -> None:
    """A DoFn raised, and the engine runs the bundle again."""
    job = Job([True] * 3)
    job.session.begin()
    first = job.read()
    job.write(job.records[:1])
    assert job.bundle() == first
    assert job.kafka.outputs == [(*A, 0), (*A, 1), (*A, 2)]
    assert heard.rollbacks == ["the bundle failed"]


def test_a_rebalance_in_mid_bundle_makes_it_void(heard: Listener) -> None:
    job = Job([True] * 5, [True] * 5)
    job.session.begin()
    job.read(most=2)
    job.write()
    job.steps = [lambda: job.consumer.assign(set())]
    assert job.read(timeout_s=0.0) == [], "nothing is handed over that could not be committed"
    assert not job.session.commit()
    assert heard.rollbacks == ["the group rebalanced"]
    assert job.kafka.outputs == []
    assert len(job.bundle()) == 10


def test_records_that_came_with_a_rebalance_are_read_again() -> None:
    """Reading has moved past them, also in partitions that the bundle had none of before."""
    job = Job([True] * 2, [True] * 2)
    job.steps = [lambda: job.consumer.assign({A})]
    job.session.begin()
    assert job.read(most=1) == [(0, 0)]
    job.write()
    job.steps = [lambda: job.consumer.assign({B})]
    assert job.read(timeout_s=0.0) == []
    job.session.commit()
    assert job.bundle() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert job.kafka.committed == {A: 2, B: 2}


def test_a_partition_that_went_and_came_back_is_read_from_what_others_committed() -> None:
    """The rollback of the bundle that it was taken from must not take it back to where that bundle began."""
    job = Job([True] * 4, [True])
    job.session.begin()
    job.read()
    job.write()
    job.steps = [lambda: job.consumer.revoke({A})]
    job.read(timeout_s=0.0)
    job.kafka.others_work(A, 3)
    job.steps = [lambda: job.consumer.assign({A})]
    job.now += KEEP_ALIVE_S
    assert not job.session.keep_alive()
    job.session.commit()
    assert job.bundle() == [(0, 3), (1, 0)]
    assert sorted(job.kafka.outputs) == sorted(job.kafka.records())


def test_an_expelled_member_is_refused_and_reads_from_what_its_heirs_left(heard: Listener) -> None:
    """A pause of the machine: the group went on without us, and we learn it from the broker's refusal."""
    job = Job([True] * 6)
    job.session.begin()
    job.read()
    job.write()
    job.consumer.expel()
    job.kafka.others_work(A, 4)
    assert not job.session.commit()
    assert "ILLEGAL_GENERATION" in heard.rollbacks[0]
    job.steps = [lambda: job.consumer.assign({A})]
    job.bundle()
    job.bundle()
    assert job.kafka.outputs == [(*A, offset) for offset in range(6)]


def test_too_many_rollbacks_in_a_row_end_the_job() -> None:
    job = Job([True])
    for _ in range(MAX_ROLLBACKS):
        job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "broken for good", abort=True))
        job.bundle()
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, "broken for good", abort=True))
    with pytest.raises(KafkaError, match=r"21 bundles in a row could not be committed; .*broken for good"):
        job.bundle()


def test_rebalances_do_not_count_among_them_nor_do_rollbacks_with_commits_between() -> None:
    job = Job([True] * 3)
    for _ in range(MAX_ROLLBACKS + 5):
        job.session.begin()
        job.read()
        job.write()
        job.steps = [lambda: job.consumer.assign(set())]
        job.read(timeout_s=0.0)
        assert not job.session.commit()
    for _ in range(MAX_ROLLBACKS + 5):
        job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, abort=True))
        job.bundle()
        job.kafka.log[A].append(True)  # type: ignore[index]
        job.bundle()


def test_a_fenced_producer_says_who_took_over_and_what_to_do() -> None:
    job = Job([True])
    job.kafka.commit_failures.append(refused(ck.KafkaError._FENCED, fatal=True))
    with pytest.raises(FencedError, match=r"--instance_id=0 has taken over .*group-0.* give every replica an --instance_id"):
        job.bundle()


# ---------------------------------------------------------------------- waiting for the model server


def test_while_a_bundle_waits_the_group_is_polled_and_nothing_is_read() -> None:
    job = Job([True] * 5)
    job.session.begin()
    first = job.read(most=2)
    job.write()
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        job.steps = [count]

    job.steps = [count]
    assert job.session.keep_alive()
    assert calls == 0, "not yet: it has just polled"
    for _ in range(5):
        job.now += KEEP_ALIVE_S
        assert job.session.keep_alive()
    assert calls == 5
    assert job.consumer.paused == {A}
    job.steps = []
    assert job.session.commit()
    assert job.kafka.committed == {A: len(first)}
    assert job.bundle() == [(0, 2), (0, 3), (0, 4)], "reading goes on where it was"


def test_a_record_that_strays_in_while_paused_is_read_later() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read(most=2)
    job.write()
    job.steps = [job.consumer.paused.clear]  # it was already on its way
    job.now += KEEP_ALIVE_S
    assert job.session.keep_alive()
    job.session.commit()
    assert job.bundle() == [(0, 2)]


def test_a_rebalance_while_waiting_gives_the_bundle_up() -> None:
    job = Job([True] * 3, [True])
    job.session.begin()
    job.read()
    job.steps = [lambda: job.consumer.revoke({B})]
    job.now += KEEP_ALIVE_S
    assert not job.session.keep_alive()
    job.write()
    assert job.producer.produced == [], "outcomes of a void bundle are dropped"
    job.session.commit()
    assert job.bundle() == [(0, 0), (0, 1), (0, 2)]


def test_a_transaction_that_grows_too_old_is_given_up_and_the_next_ones_are_short(
    heard: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is open, no read_committed reader passes it. Afterwards outputs are held until all are there."""
    open_s = 0.0
    monkeypatch.setattr(TransactionalWriter, "open_s", property(lambda _: open_s))
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.write(job.records[:1])
    open_s = 4.0
    assert job.session.keep_alive()
    open_s = 6.0
    assert not job.session.keep_alive()
    assert not job.session.commit()
    assert heard.rollbacks == ["the model server was too slow for one transaction"]
    open_s = 0.0
    for number in range(CAUTIOUS_BUNDLES + 1):
        job.session.begin()
        job.read()
        job.write()
        assert job.producer.open is (number == CAUTIOUS_BUNDLES), "begun only when everything is there"
        assert job.session.commit()
        job.kafka.log[A].append(True)  # type: ignore[index]
    assert job.kafka.outputs == job.kafka.records()[: len(job.kafka.outputs)]
    assert len(job.kafka.outputs) == 3 + CAUTIOUS_BUNDLES


def test_giving_up_rolls_back() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.session.give_up("drained while the model server was down")
    assert not job.session.keep_alive()
    assert not job.session.commit()
    assert job.kafka.committed == {}


def test_polling_nothing_keeps_our_place_and_reads_nothing() -> None:
    job = Job([True] * 3)
    job.bundle()
    job.kafka.log[A].append(True)  # type: ignore[index]
    job.session.begin()
    job.session.poll_nothing(0.1)
    job.session.poll_nothing(0.1)
    job.session.commit()
    assert job.kafka.committed == {A: 3}
    assert job.bundle() == [(0, 3)]


# ---------------------------------------------------------------------- ends


def test_records_beyond_the_end_asked_for_are_taken_out_again() -> None:
    job = Job([True] * 5, [True] * 2)
    job.session.begin()
    job.read()
    inside = [record for record in job.records if record.offset < 2]
    job.session.stop_at([record for record in job.records if record.offset >= 2])
    job.write(inside)
    assert job.session.commit()
    assert job.kafka.committed == {A: 2, B: 2}
    assert job.session.take_committed_count() == 4
    assert job.bundle() == [], "no more is read of a partition that is stopped"


def test_a_partition_of_which_all_lies_beyond_is_committed_at_its_end() -> None:
    job = Job([True] * 5)
    job.session.begin()
    job.read()
    job.session.stop_at(job.records)
    assert job.session.commit()
    assert job.kafka.committed == {A: 0}


def test_a_stopped_partition_that_is_rolled_back_is_read_again() -> None:
    job = Job([True] * 5)
    job.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, abort=True))
    for committed in (False, True):
        job.session.begin()
        assert len(job.read()) == 5
        job.session.stop_at(job.records[3:])
        job.write(job.records[:3])
        assert job.session.commit() is committed
    assert job.kafka.committed == {A: 3}


def test_what_the_whole_group_has_passed() -> None:
    job = Job([True] * 3, [True] * 3, assign=False)
    job.steps = [lambda: job.consumer.assign({A})]
    job.kafka.others.add(B)
    job.bundle()
    assert not job.session.group_has_passed({A: 3, B: 3})
    job.kafka.others_work(B, 3)
    assert job.session.group_has_passed({A: 3, B: 3})


# ---------------------------------------------------------------------- starting


def start(committed: int | None, low: int = 0, size: int = 5) -> list[tuple[int, int]]:
    job = Job([True] * size)
    job.kafka.low[A] = low
    if committed is not None:
        job.kafka.committed[A] = committed
    job.session.begin()
    return job.read()


def test_a_partition_starts_where_the_group_has_committed_or_at_its_earliest_record() -> None:
    assert start(3) == [(0, 3), (0, 4)]
    assert start(None, low=2) == [(0, 2), (0, 3), (0, 4)]
    assert start(5) == []


def test_retention_past_the_committed_offset_is_an_error_with_its_cure() -> None:
    with pytest.raises(KafkaError, match=r"in/0: retention has deleted 2 records .*--start_from=earliest"):
        start(1, low=3)


def test_a_committed_offset_beyond_the_end_is_an_error_with_its_cure() -> None:
    with pytest.raises(KafkaError, match="in/0: .*committed offset 9, but the partition ends at 5.*made again"):
        start(9)


# ---------------------------------------------------------------------- writing


def test_null_keys_keep_the_order_of_their_partition() -> None:
    """They go to the partition of the source's number, modulo the count; keyed ones where the key says."""
    job = Job([True])
    job.session.begin()
    job.read()
    [keyed] = [outcome(record) for record in job.records]
    job.session.write([keyed._replace(key=None, source=("in", 4, 0)), keyed._replace(source=("in", 4, 0))])
    assert [(key, partition) for _, key, _, partition, *_ in job.producer.produced] == [(None, 1), (b"k", -1)]


def test_a_full_queue_is_waited_for() -> None:
    job = Job([True] * 3)
    job.producer.full = 4
    job.bundle()
    assert len(job.kafka.outputs) == 3


# ---------------------------------------------------------------------- at least once


def test_at_least_once_commits_offsets_after_the_outputs() -> None:
    job = Job([True] * 3, delivery=AT_LEAST_ONCE)
    job.bundle()
    assert job.kafka.outputs == job.kafka.records()
    assert job.consumer.commits == [{A: 3}]
    assert "transactional.id" not in job.producer.properties


def test_at_least_once_an_output_that_was_not_acknowledged_is_read_again() -> None:
    job = Job([True] * 3, delivery=AT_LEAST_ONCE)
    job.session.begin()
    job.read()
    job.write()
    failed = job.producer.properties["on_delivery"]
    failed(ck.KafkaError(ck.KafkaError._MSG_TIMED_OUT), Message(job.records[0]))
    assert not job.session.commit()
    assert job.kafka.committed == {}
    assert len(job.bundle()) == 3
    assert job.kafka.committed == {A: 3}


def test_at_least_once_an_output_that_can_never_be_written_ends_the_job() -> None:
    job = Job([True] * 3, delivery=AT_LEAST_ONCE)
    job.session.begin()
    job.read()
    job.write()
    job.producer.properties["on_delivery"](ck.KafkaError(ck.KafkaError.MSG_SIZE_TOO_LARGE), Message(job.records[0]))
    with pytest.raises(KafkaError, match=r"larger than the topic allows: raise max\.message\.bytes"):
        job.session.commit()


def test_at_least_once_closing_commits_what_is_ours_for_good() -> None:
    """And nothing of a partition that went and came back, which others may have brought further."""
    job = Job([True] * 4, [True] * 4, delivery=AT_LEAST_ONCE)
    job.session.begin()
    job.read(most=2)
    job.write()
    job.session.commit()
    for step in (lambda: job.consumer.revoke({A}), lambda: job.consumer.assign({A})):
        job.steps = [step]
        job.session.begin()
        job.session.poll_nothing(0.0)
        if A in job.kafka.others:
            job.kafka.others_work(A, 4)
    job.session.close()
    assert job.kafka.committed[A] == 4
    assert job.consumer.closed


def test_closing_in_mid_bundle_aborts_it() -> None:
    job = Job([True] * 3)
    job.session.begin()
    job.read()
    job.write()
    job.session.close()
    assert (job.producer.open, job.producer.aborted, job.kafka.outputs) == (False, 1, [])
    assert job.consumer.closed


# ---------------------------------------------------------------------- static assignment


def static(kafka: MemoryKafka, shard: int, shards: int) -> tuple[StaticReader, set[Partition]]:
    reader = StaticReader(KafkaConfig("m", ("in",), "g", assignment="static"), shard, shards, MemoryConsumer(kafka).opened)
    found = {(record.topic, record.partition) for record in reader.consume(1_000, 0.0)}
    return reader, found


def test_static_shares_cover_every_partition_once() -> None:
    kafka = MemoryKafka({("in", number): [True] for number in range(7)})
    shares = [static(kafka, shard, 3)[1] for shard in range(3)]
    assert sorted(partition for share in shares for partition in share) == sorted(kafka.log)


def test_a_static_reader_finds_partitions_that_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = MemoryKafka({A: [True]})
    reader, found = static(kafka, 0, 1)
    assert found == {A}
    kafka.log[B] = [True]  # type: ignore[index]
    assert reader.consume(10, 0.0) == []
    reader._discover_at = 0.0  # the next look is due
    assert [record.partition for record in reader.consume(10, 0.0)] == [1]
