"""Exactly once where workers are moved, doubled and left behind: the property, on Kafka in memory.

Several workers each believe to own shards, as Dataflow's may: the job was updated to another number of shards, a key moved,
a bundle runs twice. They run side by side, and change turns before any call of Kafka's that Hypothesis chooses, also in the
middle of a claim. Loop, sessions, readers and writers are the real ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import threading
from collections.abc import Callable
from typing import Any

import confluent_kafka as ck
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka, Source
from tests.kafka.native.memory_mender import memory_mender
from tests.kafka.native.memory_producer import MemoryProducer
from tests.kafka.native.test_exactly_once import open_memory_writer, outcome
from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.moving_loop import PollMovingShards, ProcessSessions
from transforms.kafka.native.session import Session
from transforms.kafka.native.session_claims import SessionClaims
from transforms.kafka.native.sessions import SessionKey, Sessions
from transforms.kafka.native.sinks import note_sink
from transforms.kafka.native.static_reader import StaticReader
from transforms.kafka.stop import StopConditions

CONFIG = KafkaConfig(
    "memory:9092", ("in",), "group", "shard", assignment="static", one_outcome_each=True, max_bundle_records=4,
    dead_letter_topic="dead",
)  # fmt: skip

TURN_S = 20.0
"""How long a test's thread waits for its turn before the test is given up as stuck."""


class Turns:
    """Lets one of several threads run at a time; ``change`` gives the turn to one of them at random."""

    def __init__(self, chooser: random.Random):
        self._random = chooser
        self._running: dict[threading.Thread, threading.Semaphore] = {}
        self.errors: list[BaseException] = []
        self.seldom = 0.5

    def run(self, *calls: Callable[[], None]) -> None:
        """Runs the calls side by side to their end."""
        for call in calls:
            thread = threading.Thread(target=self._guarded, args=(call,), daemon=True)
            self._running[thread] = threading.Semaphore(0)
        threads = list(self._running)
        for thread in threads:
            thread.start()
        self._give()
        for thread in threads:
            thread.join(TURN_S)
        for error in self.errors:
            raise error

    def change(self) -> None:
        """Before a call of Kafka's: perhaps it is another thread's turn."""
        me = self._running.get(threading.current_thread())
        if me is not None and self._random.random() < self.seldom:
            self._give()
            assert me.acquire(timeout=TURN_S), "no turn"

    def _guarded(self, call: Callable[[], None]) -> None:
        me = threading.current_thread()
        assert self._running[me].acquire(timeout=TURN_S), "no turn"
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # it is raised in the test
            self.errors.append(error)
        del self._running[me]
        self._give()

    def _give(self) -> None:
        if self._running:
            self._random.choice(list(self._running.values())).release()


class TurningProducer(MemoryProducer):
    """Changes turns before every call that reaches the broker."""

    def __init__(self, kafka: MemoryKafka, turns: Turns):
        super().__init__(kafka)
        self._turns = turns

    def init_transactions(self, timeout: float) -> None:
        self._turns.change()
        super().init_transactions(timeout)

    def send_offsets_to_transaction(self, offsets: list[Any], group: Any, timeout: float) -> None:
        self._turns.change()
        super().send_offsets_to_transaction(offsets, group, timeout)

    def commit_transaction(self, timeout: float) -> None:
        self._turns.change()
        super().commit_transaction(timeout)


class TurningConsumer(MemoryConsumer):
    """As ``TurningProducer``."""

    def __init__(self, kafka: MemoryKafka, turns: Turns):
        super().__init__(kafka, lambda _: turns.change())
        self._turns = turns

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        self._turns.change()
        return super().committed(partitions, timeout)

    def commit(self, offsets: list[Any], asynchronous: bool) -> list[Any]:
        self._turns.change()
        return super().commit(offsets, asynchronous)


class SessionsOf(ProcessSessions):
    """The sessions of a worker, for its loop."""

    def __init__(self, sessions: Sessions):
        self._of = sessions

    def enter(self, key: SessionKey) -> Session:
        return self._of.enter(key)

    def abandon(self, config: KafkaConfig, only: SessionKey | None = None) -> None:
        self._of.abandon(config, only)

    def fenced(self, key: SessionKey) -> None:
        self._of.fenced(key)

    def wait_s(self, key: SessionKey) -> float:
        return self._of.wait_s(key)


class Timer:
    """Beam's, of which the tests want to know whether it was set."""

    def __init__(self) -> None:
        self.sets = 0

    def set(self, at: object) -> None:
        self.sets += 1


class NotDrained:
    def read(self) -> None:
        return None


class World:
    """Kafka, and the workers that read it. A subclass takes a part of the guarantee away."""

    claiming = SessionClaims
    producer = TurningProducer
    claims = True

    def __init__(self, records: list[int], seed: int):
        self.random = random.Random(seed)
        self.config = dataclasses.replace(CONFIG, shards_move=True)
        self.turns = Turns(self.random)
        self.now = 0.0
        log = {("in", number): [True] * count for number, count in enumerate(records)}
        self.kafka = MemoryKafka(log, clock=lambda: self.now, wait=self.wait)
        every, code = self.random.choice((2, 7, 1_000)), ck.KafkaError.MSG_SIZE_TOO_LARGE
        self.kafka.refuses = lambda output: (
            code if output.topic == "out" and output.source[2] % 5 and output.source[2] % every == 1 else None
        )
        note_sink(self.config)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.turns.change()

    def open_session(self, config: KafkaConfig, shard: int, shards: int, claim: bool) -> Session:
        def open_reader(config: KafkaConfig, shard: int, shards: int, claim: Any) -> StaticReader:
            consumer, admin = TurningConsumer(self.kafka, self.turns), MemoryAdmin(self.kafka)
            return StaticReader(config, shard, shards, consumer.opened, claim, admin.opened, lambda: self.now, self.wait)

        return Session(
            config, shard, shards, lambda: self.now, lambda s: self.wait(0.1),
            lambda it: open_memory_writer(it, self.producer(self.kafka, self.turns), lambda: self.now),
            open_reader, open_mender=memory_mender(self.kafka), claim=claim and self.claims,
            open_claims=self.claiming,
        )  # fmt: skip

    def is_done(self) -> bool:
        return all(self.kafka.committed.get(it, 0) == len(log) for it, log in self.kafka.log.items())


class Worker:
    """One worker process of a job with so many shards."""

    def __init__(self, world: World, shards: int):
        self.world, self.shards = world, shards
        self.sessions = Sessions(world.open_session, lambda: world.now, world.random.random)
        self.loop = PollMovingShards(world.config, StopConditions(), shards, None, SessionsOf(self.sessions))
        self.loop.setup()

    def bundle(self, shard: int) -> bool:
        """One bundle of a shard. Returns whether the runner would keep what it did; else it begins it again."""
        chance = self.world.random.random
        timer = Timer()
        try:
            for chunk in self.loop.poll(shard, timer, NotDrained()):
                if chance() < 0.1:
                    self.world.wait(12.0)  # suspended for longer than a transaction may last
                if chance() < 0.05:
                    raise KafkaError("a stage raised")
                self.world.kafka.stuck += chance() < 0.05
                self.sessions.of_bundle(self.world.config).write([outcome(record) for record in chunk])
            if self.sessions._here.entered:  # else it was fenced before it read
                self.sessions.of_bundle(self.world.config).commit()
        except KafkaError:
            self.loop.teardown()
            return False
        self.sessions.leave(self.world.config)
        assert timer.sets, "the loop goes on"
        return True

    def work(self, bundles: int) -> None:
        """So many bundles of shards that it believes to own: any."""
        for _ in range(bundles):
            self.bundle(self.world.random.randrange(self.shards))
            self.world.now += 0.1


def doubled(outputs: list[Source]) -> list[Source]:
    return sorted(it for it in set(outputs) if outputs.count(it) > 1)


def run(world: World, counts: list[int], bundles: int, rounds: int = 100) -> None:
    """Workers of jobs with these numbers of shards side by side; then one is left, and has all the shards."""
    workers = [Worker(world, count) for count in counts]
    world.turns.run(*(functools.partial(worker.work, bundles) for worker in workers))
    last = Worker(world, counts[-1])
    for _ in range(rounds):
        if world.is_done():
            return
        for shard in range(last.shards):
            last.bundle(shard)
        world.now += 1.0
    raise AssertionError(f"it does not come to the end: {world.kafka.committed}")


RECORDS = st.lists(st.integers(0, 25), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(RECORDS, st.integers(0, 2**32), st.lists(st.integers(1, 3), min_size=2, max_size=4), st.integers(1, 8))
def test_each_record_once_whoever_believes_to_own_it(records: list[int], seed: int, counts: list[int], bundles: int) -> None:
    world = World(records, seed)
    run(world, counts, bundles)
    outputs = world.kafka.outputs
    assert not doubled(outputs)
    assert sorted(outputs) == sorted(world.kafka.records())
    for number in range(len(records)):
        offsets = [offset for _, partition, offset in outputs if partition == number]
        assert offsets == sorted(offsets), "in the order of the input"


def breaks(kind: type[World], worlds: int, counts: list[int]) -> bool:
    """Whether a record is doubled in one of so many worlds."""
    for seed in range(worlds):
        world = kind([12, 12, 12], seed)
        with contextlib.suppress(AssertionError, KafkaError):
            run(world, counts, 6, rounds=8)
        if doubled(world.kafka.outputs):
            return True
    return False


def test_worlds_that_double_without_a_part_hold_with_it() -> None:
    """The worlds of the tests below, which are the same in every run, with all parts in place."""
    assert not breaks(World, 60, [1, 2, 3])


def test_the_property_needs_the_claims() -> None:
    """Without them, jobs with different numbers of shards double records."""

    class Unclaimed(World):
        claims = False

    assert breaks(Unclaimed, 20, [2, 3])


def test_the_property_needs_the_locks() -> None:
    """Without them, two that claim at the same time both read the same former claim."""

    class OfItsOwn(TurningProducer):
        def init_transactions(self, timeout: float) -> None:
            if "claim-lock" in self._name:
                self.properties["transactional.id"] += f"-{id(self)}"
            super().init_transactions(timeout)

    class Unlocked(World):
        producer = OfItsOwn

    assert breaks(Unlocked, 100, [1, 2, 3])


def test_the_property_needs_the_look_after_a_renewal() -> None:
    """A producer that was replaced has taken the fence away that another shard had set."""

    class Careless(SessionClaims):
        def claim_again(self, goes_on: bool) -> None:
            self._writer.reopen()

    class Unlooked(World):
        claiming = Careless

    assert breaks(Unlooked, 100, [1, 2, 3])
