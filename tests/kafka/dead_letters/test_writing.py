"""Replays in transactions, on Kafka in memory: each record once, whatever fails, whoever else replays meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import confluent_kafka as ck
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kafka.native.memory_kafka import MemoryAdmin, MemoryKafka, Output, refused
from tests.kafka.native.memory_producer import MemoryProducer
from transforms.errors import FencedError, KafkaError
from transforms.kafka.dead_letters.ledger import Ledger, Place
from transforms.kafka.dead_letters.writing import ReplayOutcome, ReplayTransactions, ReplayWriter, replay_config
from transforms.kafka.stop import request_drain
from transforms.types import KafkaRecord, OutputRecord

E = ck.KafkaError
LEDGER = "dlq.replayed"
CONFIG = replay_config("nowhere:1", "dlq", ())
LETTERS: list[Place] = [(partition, offset) for offset in range(6) for partition in (0, 1)]


@dataclasses.dataclass
class World:
    """A broker, with what was written to it.

    Attributes:
        kafka: The broker; the sources of its outputs are keys of ``written``.
        written: Topic, partition and a running number to key and value.
        now_s: The time.
        back_at: When the source topic is made again.
    """

    kafka: MemoryKafka = dataclasses.field(default_factory=lambda: MemoryKafka({}))
    written: dict[tuple[str, int, int], tuple[bytes | None, bytes | None]] = dataclasses.field(default_factory=dict)
    now_s: float = 0.0
    back_at: float = 0.0

    def __post_init__(self) -> None:
        self.kafka.clock, self.kafka.wait = lambda: self.now_s, self.wait

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s >= self.back_at:
            self.kafka.gone.discard("in")

    def deleted_for(self, seconds: float) -> None:
        """The source topic is deleted, and made again after so many seconds."""
        self.kafka.gone.add("in")
        self.back_at = self.now_s + seconds

    def committed(self, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
        """Partition, key and value of what a read_committed reader sees."""
        return [(place[1], *self.written[place]) for place in self.kafka.outputs if place[0] == topic]

    def ledger(self) -> Iterable[KafkaRecord]:
        return [KafkaRecord(LEDGER, 0, at, 0, key, value, []) for at, (_, key, value) in enumerate(self.committed(LEDGER))]


class Producer(MemoryProducer):
    """Gives outputs, which have no source in their headers, a place of their own."""

    def __init__(self, world: World):
        super().__init__(world.kafka)
        self._world = world

    def produce(self, topic: str, value: Any, key: Any, partition: int, *rest: Any) -> None:
        place = topic, max(partition, 0), len(self._world.written)
        self._world.written[place] = key, value
        report, opaque, timestamp_ms, headers = rest
        named = [*headers, ("inference.source", "/".join(map(str, place)).encode())]
        super().produce(topic, value, key, partition, report, opaque, timestamp_ms, named)


class Replay:
    """One process that replays."""

    def __init__(self, world: World):
        self.producer, self.ledger = Producer(world), Ledger("id")
        writer = ReplayWriter(CONFIG, True, self.producer.opened, lambda: world.now_s, MemoryAdmin(world.kafka).opened)
        self.transactions = ReplayTransactions(
            writer, None, self.ledger, LEDGER, world.ledger, world.wait, lambda: world.now_s, lambda _: {}
        )
        self.transactions.refresh()

    def commit(self, *places: Place) -> ReplayOutcome:
        """Replays dead letters, unless they were."""
        return self.transactions.commit({place: output(place) for place in places})


def output(place: Place) -> OutputRecord:
    """The record of a dead letter; its value names it."""
    return OutputRecord("in", b"k", b"%d/%d" % place, [], 1, ("in", place[0], place[1]), None)


def values(world: World) -> list[bytes | None]:
    return [value for _, _, value in world.committed("in")]


def all_values(places: Iterable[Place]) -> list[bytes]:
    return sorted(b"%d/%d" % place for place in places)


def test_records_and_the_ledger_are_committed_together() -> None:
    world = World()
    assert Replay(world).commit((0, 0), (1, 0)) == ReplayOutcome(2, {}, {})  # type: ignore[arg-type]  # equal to a Counter
    assert values(world) == [b"0/0", b"1/0"]
    again = Replay(world)
    assert (0, 0) in again.ledger
    assert (0, 1) not in again.ledger
    assert again.commit((0, 0), (0, 1)).done == 1
    assert values(world) == [b"0/0", b"1/0", b"0/1"]


def test_records_go_to_the_partition_that_they_were_in() -> None:
    """And not where our partitioner would put the key; to another one only if that is not there any more."""
    world = World()
    Replay(world).commit((1, 0), (2, 0), (7, 0))
    assert [partition for partition, _, _ in world.committed("in")] == [1, 2, 0]
    assert {partition for partition, _, _ in world.committed(LEDGER)} == {0}


def test_the_producer_s_name_has_no_group_and_no_host_in_it() -> None:
    """Whoever replays a topic fences whoever replayed it before."""
    assert CONFIG.transactional_id == "kafka-model-scoring-replay-dlq"


def test_a_replay_that_is_overtaken_ends_and_writes_nothing_more() -> None:
    world = World()
    first = Replay(world)
    first.commit((0, 0))
    second = Replay(world)
    with pytest.raises(FencedError):
        first.commit((0, 1))
    second.commit(*LETTERS)
    assert sorted(values(world)) == all_values(LETTERS)  # type: ignore[type-var]


FAULTS: dict[str, Callable[[World], None]] = {
    "aborted": lambda world: world.kafka.commit_failures.append(refused(E.INVALID_TXN_STATE, abort=True)),
    "answer lost": lambda world: setattr(world.kafka, "lost_answers", 1),
    "committed, and not heard of": lambda world: setattr(world.kafka, "hung_commits", 1),
    "took too long": lambda world: world.kafka.commit_failures.append(refused(E._FENCED, fatal=True)),
    "an output failed": lambda world: world.kafka.delivery_failures.append(E._MSG_TIMED_OUT),
    "the target is away for a while": lambda world: world.deleted_for(30.0),
    "a coordinator moved": lambda world: world.kafka.commit_failures.append(refused(E.NOT_COORDINATOR, retriable=True)),
}


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "took too long"])
def test_whatever_becomes_of_a_commit_each_record_is_there_once(fault: str) -> None:
    world = World()
    replay = Replay(world)
    replay.commit((0, 0))
    FAULTS[fault](world)
    assert replay.commit((0, 1), (0, 2)).done == 2
    assert values(world) == [b"0/0", b"0/1", b"0/2"]
    assert len(Replay(world).ledger) == 3


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sets(st.sampled_from(LETTERS), max_size=4), st.sampled_from(["", *FAULTS])),
        max_size=12,
    )
)
def test_any_number_of_replays_with_any_filters_and_faults(steps: list[tuple[int, set[Place], str]]) -> None:
    """Two processes take turns, are fenced and start again; what each filter wants is drawn, and what fails."""
    world = World()
    replays: dict[int, Replay] = {}
    wanted: set[Place] = set()
    for who, places, fault in steps:
        if who not in replays:
            replays[who] = Replay(world)
        if fault:
            FAULTS[fault](world)
        try:
            replays[who].commit(*sorted(places))
            wanted |= places
        except KafkaError:
            del replays[who]  # killed, fenced, given up: the next one starts anew
        world.kafka.commit_failures.clear()
        world.kafka.delivery_failures.clear()
        world.kafka.lost_answers = world.kafka.hung_commits = 0
        found = values(world)
        assert len(found) == len(set(found)), "none twice"
    Replay(world).commit(*sorted(wanted))
    assert set(all_values(wanted)) <= set(values(world)), "none lost"
    ledger = Replay(world).ledger
    assert {place for place in LETTERS if place in ledger} == {
        place for place in LETTERS if b"%d/%d" % place in values(world)
    }, "the ledger says what is there"


def refuses(*guilty: bytes) -> Callable[[Output], int | None]:
    return lambda output: E.MSG_SIZE_TOO_LARGE if output.topic == "in" and output.value in guilty else None


@pytest.mark.parametrize("guilty", [(b"0/1",), (b"0/0", b"1/2"), tuple(all_values(LETTERS))])
def test_what_a_topic_does_not_take_is_left_out_and_may_be_replayed_later(guilty: tuple[bytes, ...]) -> None:
    """Nothing of it is changed to make it fit. The others are replayed, and the ledger has them alone."""
    world = World()
    world.kafka.refuses = refuses(*guilty)
    committed = Replay(world).commit(*LETTERS)
    assert committed.done == len(LETTERS) - len(guilty)
    assert committed.refused.total() == len(guilty)
    assert all(text.startswith("in does not take it: ") for text in committed.refused)
    assert sorted(values(world)) == sorted(set(all_values(LETTERS)) - set(guilty))  # type: ignore[type-var]
    world.kafka.refuses = lambda _: None
    assert Replay(world).commit(*LETTERS).done == len(guilty)
    assert sorted(values(world)) == all_values(LETTERS)  # type: ignore[type-var]


def test_a_ledger_that_takes_no_entry_ends_the_replay() -> None:
    world = World()
    world.kafka.refuses = lambda output: E.INVALID_RECORD if output.topic == LEDGER else None
    with pytest.raises(KafkaError, match="the ledger of replayed dead letters does not take an entry"):
        Replay(world).commit((0, 0))
    assert values(world) == []


@pytest.mark.usefixtures("not_draining")
def test_a_drain_does_not_try_for_ever() -> None:
    world = World()
    replay = Replay(world)
    request_drain()
    world.kafka.commit_failures += [refused(E.INVALID_TXN_STATE, abort=True)] * 3
    with pytest.raises(KafkaError, match="could not be committed before the end"):
        replay.commit((0, 0))
    assert values(world) == []
