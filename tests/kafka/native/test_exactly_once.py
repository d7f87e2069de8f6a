"""The guarantee, as a property: whatever the group, the broker and the bundles do, every record has its outcome once.

The real reader, writer, session and polling run on Kafka in memory (``memory_kafka.py``); rebalances, commits that fail and
bundles that fail happen at moments that Hypothesis chooses. Between them stands a stage that answers some records in the
next bundle (``Stage``), where the session lets it.
"""

from __future__ import annotations

import concurrent.futures
import functools
import random
from collections.abc import Callable
from typing import Any

import confluent_kafka as ck
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka, refused
from tests.kafka.native.memory_mender import memory_mender
from tests.kafka.native.memory_producer import MemoryProducer
from transforms.errors import KafkaError
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE, KafkaConfig
from transforms.kafka.native.acknowledged import AcknowledgedWriter
from transforms.kafka.native.consumer import GroupReader
from transforms.kafka.native.polling import Polling
from transforms.kafka.native.producer import Writer
from transforms.kafka.native.rollbacks import MAX_ROLLBACKS
from transforms.kafka.native.session import Session
from transforms.kafka.native.transactional import TransactionalWriter
from transforms.kafka.obstacles import Obstacles
from transforms.kafka.stop import StopConditions
from transforms.memory import Memory
from transforms.types import KafkaRecord, OutputRecord

EVENTS = st.integers(0, 80)
REFUSED = (ck.KafkaError.INVALID_RECORD, ck.KafkaError.INVALID_TIMESTAMP, ck.KafkaError.MSG_SIZE_TOO_LARGE)
TRANSIENT = (ck.KafkaError._TIMED_OUT, ck.KafkaError.CONCURRENT_TRANSACTIONS)


def outcome(record: KafkaRecord) -> OutputRecord:
    source = record.topic, record.partition, record.offset
    made = (record.key or b"").decode().removeprefix("k")  # the topic may have been made again: see MemoryKafka.name
    name = f"{record.topic}#{made}" if made else record.topic
    told = f"{name}/{record.partition}/{record.offset}"
    headers = [("inference.source", told.encode()), ("inference.error.class", b"E")]
    failed = "decode" if record.offset % 5 == 0 else None
    return OutputRecord("out", record.key, b"{}", headers, record.timestamp_ms, source, failed)  # type: ignore[arg-type]


def open_memory_writer(config: KafkaConfig, producer: MemoryProducer, clock: Callable[[], float]) -> Writer:
    if config.delivery == EXACTLY_ONCE:
        kafka = producer.kafka
        return TransactionalWriter(config, producer.opened, clock, MemoryAdmin(kafka).opened, lambda s: kafka.wait(s))
    return AcknowledgedWriter(config, producer.opened, clock, Obstacles(config, MemoryAdmin(producer.kafka).opened))


class LateExecutor(concurrent.futures.Executor):
    """Runs what it is given at once, or only when somebody waits for it: a commit's earliest and latest moment."""

    def __init__(self, late: Callable[[], bool]):
        self._late = late

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> concurrent.futures.Future[Any]:
        future = LateFuture(lambda: call(*arguments, **named))
        if not self._late():
            future.run()
        return future


class LateFuture(concurrent.futures.Future[Any]):
    def __init__(self, call: Callable[[], Any]):
        super().__init__()
        self._call = call

    def run(self) -> None:
        if not self.done():
            try:
                self.set_result(self._call())
            except BaseException as error:  # noqa: BLE001  # as an executor does
                self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        self.run()
        return super().result(timeout)


class Stage:
    """The stages between source and sink: answers records in order, and carries those that it has not answered over.

    Attributes:
        waiting: Records without an answer.
        carried: How often it has carried some over, and how often it has then lost them to a rollback.
    """

    def __init__(self, session: Session):
        self._session = session
        self._ticket: object | None = None
        self._carried: object | None = None
        self.waiting: list[KafkaRecord] = []
        self.carried = self.lost = 0

    def begin(self) -> None:
        self._ticket, self._carried = self._carried, None
        if self._ticket is None:
            self.waiting = []

    def take(self, records: list[KafkaRecord]) -> None:
        self._take_over()
        self.waiting += records

    def answer(self, count: int) -> None:
        """Answers so many; not before it is known whether the bundle still has what was carried over."""
        if self._ticket is None:
            self._session.write([outcome(record) for record in self.waiting[:count]])
            del self.waiting[:count]

    def end(self, answered: int) -> None:
        """Answers so many, and the rest, too, unless it may go over."""
        self._take_over()
        self.answer(answered)
        if self.waiting:
            self._carried = self._session.carry(self.waiting)
            self.carried += self._carried is not None
        if self._carried is None:
            self.answer(len(self.waiting))

    def _take_over(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None and not self._session.take_over(ticket):
            self.lost += 1
            self.waiting = []


class World:
    """Everything that can happen, with these chances, for so many events; then quiet, and all partitions are ours."""

    def __init__(self, logs: list[list[bool]], seed: int, events: int, delivery: str, until_end: bool, budget: int | None):
        self.random = random.Random(seed)
        self.events = events
        self.may_hang = True
        self.now = 0.0
        self.kafka = MemoryKafka(
            {("in", number): present for number, present in enumerate(logs)}, clock=lambda: self.now, wait=self.wait
        )
        self.all = set(self.kafka.log)
        code, every = self.random.choice(REFUSED), self.random.choice((2, 7, 1_000))
        self.kafka.refuses = lambda output: (
            code if output.topic == "out" and output.source[2] % 5 and sum(output.source[1:]) % every == 1 else None
        )
        config = KafkaConfig(
            "memory:9092", ("in",), "group", delivery=delivery, max_bundle_records=self.random.choice((3, 20, 500)),
            chunk_records=self.random.choice((1, 4, 100)), batch_max_size=4, one_outcome_each=True,
            dead_letter_topic="dead", memory=Memory(self.random.choice((1, 3_000, 10**8))),
        )  # fmt: skip
        self.consumer = MemoryConsumer(self.kafka, self.between, seed)
        self.producer = MemoryProducer(self.kafka)
        self.session = Session(
            config,
            clock=lambda: self.now,
            sleep=self.wait,
            open_writer=lambda c: open_memory_writer(c, self.producer, lambda: self.now),
            open_reader=lambda c, *_: GroupReader(
                c, self.consumer.opened, MemoryAdmin(self.kafka).opened, lambda: self.now, self.wait
            ),
            background=LateExecutor(lambda: self.random.random() < 0.7),
            overlap_from=self.random.choice((0, 3, 1_000)),
            open_mender=memory_mender(self.kafka),
        )
        ends = tuple((partition, len(present)) for partition, present in self.kafka.log.items())
        pending = tuple(partition for partition, end in ends if end)
        stop = StopConditions(budget, ends, pending) if until_end else StopConditions(budget)
        self.polling = Polling(config, stop, lambda: self.now, first_read=self.random.choice((1, 2, 3, 2048)))
        self.stage = Stage(self.session)
        self.carries = self.random.choice((0.0, 0.5, 1.0))

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def chance(self, probability: float) -> bool:
        if self.events <= 0 or self.random.random() >= probability:
            return False
        self.events -= 1
        return True

    def failure(self) -> bool:
        """One more failure; not too many in a row, or the job gives up, as it should."""
        in_a_row = self.session._rollbacks.in_a_row + len(self.kafka.commit_failures) + self.kafka.hung_commits
        in_a_row += len(self.kafka.delivery_failures) + self.kafka.stuck + self.kafka.denied_commits
        return in_a_row <= MAX_ROLLBACKS // 2 and self.chance(0.05)

    def some(self) -> set[tuple[str, int]]:
        return {partition for partition in sorted(self.all) if self.random.random() < 0.6}

    def between(self, consumer: MemoryConsumer) -> None:
        """Inside consume(), before each message."""
        if self.chance(0.04):
            consumer.revoke(self.some())
        for partition in sorted(self.kafka.others):
            if self.chance(0.3):
                self.kafka.others_work(partition, self.random.randint(0, 4))
        if self.chance(0.04) or self.events <= 0:
            consumer_owns = set(consumer.positions)
            if consumer_owns != self.all:
                consumer.assign(self.all if self.events <= 0 else self.some())

    def outside(self) -> None:
        """Between the calls of ours."""
        self.now += self.random.choice((0.7, 2.0, 6.0)) if self.chance(0.2) else 0.01
        if self.failure():
            self.consumer.expel()
            for partition in sorted(self.kafka.others):
                self.kafka.others_work(partition, self.random.randint(0, 3))
        if self.failure():
            self.kafka.commit_failures.append(refused(ck.KafkaError._FAIL, abort=True))
        if self.chance(0.05):
            self.kafka.commit_failures.append(refused(self.random.choice(TRANSIENT), retriable=True))
        if self.chance(0.05):
            self.kafka.send_failures.append(refused(ck.KafkaError.NOT_COORDINATOR, retriable=True))
        if self.chance(0.05):
            self.producer.full += 2
        if self.failure():
            self.kafka.delivery_failures.append(ck.KafkaError._MSG_TIMED_OUT)
        if self.chance(0.05):
            self.kafka.lost_answers += 1
        if self.may_hang and self.failure():
            self.kafka.hung_commits += 1
        if self.may_hang and self.failure():
            self.kafka.denied_commits += 1
        if self.may_hang and self.failure():
            self.kafka.stuck += 1
        if self.chance(0.02):
            self.consumer.unready += 1
        if self.events <= 0:
            self.kafka.gone.discard("out")
        elif self.chance(0.05):
            self.kafka.gone ^= {"out"}  # deleted, or made again

    def run(self) -> None:
        """As the source, the stages between and the sink do, bundle after bundle, to the end."""
        for _ in range(2_000):
            self.session.begin()
            if self.polling.finished(self.session):
                return
            if self.chance(0.02):
                self.stage = Stage(self.session)  # the runner takes another copy, which carries nothing
            self.stage.begin()
            for chunk in self.polling.chunks(self.session):
                self.outside()
                self.stage.take(chunk)
                if self.chance(0.3):  # the model has answered some, in order
                    self.stage.answer(self.random.randint(0, len(self.stage.waiting)))
            self.outside()
            while self.chance(0.2):
                self.now += 0.7
                self.consumer.stray += self.chance(0.5)
                if not self.session.keep_alive():
                    self.stage.waiting = []
            if self.failure():
                continue  # a DoFn raised: the bundle is begun again
            waits = self.random.random() >= self.carries
            self.stage.end(len(self.stage.waiting) if waits else self.random.randint(0, len(self.stage.waiting)))
            self.outside()
            self.session.commit()
            if self.polling.stop == StopConditions() and self.events <= 0 and self.is_done():
                return
        raise AssertionError(f"it does not come to the end: {self.kafka.committed} of {self.ends()}")

    def ends(self) -> dict[tuple[str, int], int]:
        return {partition: len(present) for partition, present in self.kafka.log.items() if present}

    def is_done(self) -> bool:
        ends = self.ends()
        return {partition: self.kafka.committed.get(partition, 0) for partition in ends} == ends


@st.composite
def logs(draw: st.DrawFn) -> list[list[bool]]:
    """Partitions of some length, with holes among the records."""
    drawn, gaps = random.Random(draw(st.integers(0, 2**32))), draw(st.sampled_from((0.0, 0.1, 0.6)))
    return [[drawn.random() >= gaps for _ in range(drawn.randint(0, 50))] for _ in range(draw(st.integers(1, 5)))]


@settings(max_examples=250, deadline=None)
@given(logs(), st.integers(0, 2**32), EVENTS, st.booleans())
def test_exactly_once(log: list[list[bool]], seed: int, events: int, until_end: bool) -> None:
    world = World(log, seed, events, EXACTLY_ONCE, until_end, None)
    world.run()
    outputs = world.kafka.outputs
    assert sorted(outputs) == sorted(world.kafka.records())
    for number in range(len(log)):
        offsets = [offset for _, partition, offset in outputs if partition == number]
        assert offsets == sorted(offsets), "in the order of the input"


@settings(max_examples=150, deadline=None)
@given(logs(), st.integers(0, 2**32), EVENTS, st.booleans())
def test_at_least_once(log: list[list[bool]], seed: int, events: int, until_end: bool) -> None:
    world = World(log, seed, events, AT_LEAST_ONCE, until_end, None)
    world.run()
    world.session.close()
    assert set(world.kafka.outputs) == set(world.kafka.records())


@settings(max_examples=150, deadline=None)
@given(logs(), st.integers(0, 2**32), EVENTS, st.integers(1, 60))
def test_a_budget_is_kept_to_the_record(log: list[list[bool]], seed: int, events: int, budget: int) -> None:
    """``--max_records``: whatever is rolled back on the way, exactly so many are answered; and still each once."""
    world = World(log, seed, events, EXACTLY_ONCE, False, budget)
    world.may_hang = False  # records of a commit that succeeded unseen are not counted
    by_others = 0
    assume(budget <= len(world.kafka.records()))  # else it would wait for more, as it should
    work = world.kafka.others_work

    def counted(partition: tuple[str, int], most: int) -> None:
        nonlocal by_others
        before = len(world.kafka.outputs)
        if len(world.kafka.records()) - before - most >= budget:  # leaves us enough
            work(partition, most)
        by_others += len(world.kafka.outputs) - before

    world.kafka.others_work = counted  # type: ignore[method-assign]  # counts what is not ours
    world.run()
    outputs = world.kafka.outputs
    assert len(set(outputs)) == len(outputs)
    assert len(outputs) - by_others == budget


def test_the_property_is_about_bundles_that_carry() -> None:
    """It means something: records are carried over, and some of them are rolled back in either bundle."""
    carried = lost = 0
    for seed in range(60):
        world = World([[True] * 40] * 3, seed, 60, EXACTLY_ONCE, True, None)
        world.run()
        carried, lost = carried + world.stage.carried, lost + world.stage.lost
    assert carried > 50
    assert lost > 5


def unfenced(kafka: MemoryKafka, send: Callable[..., None], offsets: list[object], group: int, timeout: float) -> None:
    send(offsets, kafka.generation, timeout)


def test_the_model_notices_a_broken_guarantee() -> None:
    """The property is worth something: without fencing by generation, records are doubled."""
    doubled = 0
    for seed in range(60):
        world = World([[True] * 30] * 3, seed, 60, EXACTLY_ONCE, True, None)
        world.may_hang = False  # more often then: a producer that is left behind does not write what is stale
        producer = world.producer
        send = functools.partial(unfenced, world.kafka, producer.send_offsets_to_transaction)
        producer.send_offsets_to_transaction = send  # type: ignore[method-assign]  # the broken broker
        try:
            world.run()
        except (AssertionError, KafkaError):
            continue
        doubled += len(world.kafka.outputs) > len(set(world.kafka.outputs))
    assert doubled
