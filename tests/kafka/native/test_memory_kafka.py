"""What the Kafka in memory does not forgive. Rules of librdkafka itself are checked on its mock cluster, too."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_job import A, B
from tests.kafka.native.memory_kafka import MemoryKafka
from tests.kafka.native.memory_producer import MemoryProducer
from transforms.kafka.config import Partition

RECORDS = 6
OUTPUT: tuple[Any, ...] = ("out", b"{}", b"k", -1, None, None, 0, [("inference.source", b"in/0/0")])


@dataclasses.dataclass
class Cluster:
    """Kafka in memory, or librdkafka's mock; partitions 0 and 1 of ``in`` have ``RECORDS`` records each."""

    consumer: Any
    open_producer: Callable[[str], Any]

    def read(self, most: int, timeout_s: float = 5.0) -> list[int]:
        """Offsets of records; the end of a partition counts as one."""
        found: list[int] = []
        deadline = time.monotonic() + timeout_s
        while len(found) < most and time.monotonic() < deadline:
            messages = self.consumer.consume(most - len(found), 0.2)
            for message in messages:
                error = message.error()
                assert error is None or error.code() == ck.KafkaError._PARTITION_EOF
                found.append(message.offset())
            if not messages and isinstance(self.consumer, MemoryConsumer):
                break
        return found


@pytest.fixture(scope="module")
def mock_cluster() -> Iterator[str]:
    owner = ck.Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0})
    brokers = owner.list_topics(timeout=30).brokers.values()
    address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    producer = ck.Producer({"bootstrap.servers": address, "log_level": 0})
    for partition in (0, 1):
        for _ in range(RECORDS):
            producer.produce("in", b"v", partition=partition)
    assert producer.flush(30) == 0
    yield address
    del owner


@pytest.fixture(params=["memory", "librdkafka"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    if request.param == "memory":
        kafka = MemoryKafka({A: [True] * RECORDS, B: [True] * RECORDS})
        yield Cluster(MemoryConsumer(kafka), lambda name: opened(kafka, name))
        return
    address = request.getfixturevalue("mock_cluster")
    common = {"bootstrap.servers": address, "log_level": 0}
    consumer = ck.Consumer(
        {
            **common,
            "group.id": "g",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "partition.assignment.strategy": "cooperative-sticky",
        }
    )
    yield Cluster(consumer, lambda name: ck.Producer({**common, "transactional.id": name}))
    consumer.close()


def opened(kafka: MemoryKafka, name: str = "tx") -> MemoryProducer:
    return MemoryProducer(kafka).opened({"transactional.id": name, "transaction.timeout.ms": 10_000})


def at(partition: Partition, offset: int) -> ck.TopicPartition:
    return ck.TopicPartition(*partition, offset)


def code_of(call: Callable[..., Any], *arguments: Any) -> int:
    with pytest.raises(ck.KafkaException) as raised:
        call(*arguments)
    return int(raised.value.args[0].code())


# ---------------------------------------------------------------------- consumers


def test_a_paused_partition_is_still_paused_when_it_comes_back(cluster: Cluster) -> None:
    cluster.consumer.incremental_assign([at(A, 0)])
    assert cluster.read(2) == [0, 1]
    cluster.consumer.pause([at(A, -1)])
    cluster.consumer.incremental_unassign([at(A, -1)])
    cluster.consumer.incremental_assign([at(A, 4)])
    assert cluster.read(1, 1.0) == []
    cluster.consumer.resume([at(A, -1)])
    assert cluster.read(1) == [4]


def test_the_end_is_told_once_and_again_after_a_resume(cluster: Cluster) -> None:
    cluster.consumer.incremental_assign([at(A, RECORDS)])
    assert cluster.read(2, 1.0) == [RECORDS]
    cluster.consumer.pause([at(A, -1)])
    cluster.consumer.resume([at(A, -1)])
    assert cluster.read(1) == [RECORDS]


def test_only_what_is_assigned_can_be_sought(cluster: Cluster) -> None:
    cluster.consumer.incremental_assign([at(A, 0)])
    cluster.consumer.seek(at(A, 3))
    assert cluster.read(1) == [3]
    cluster.consumer.incremental_unassign([at(A, -1)])
    assert code_of(cluster.consumer.seek, at(A, 0)) == ck.KafkaError._STATE


def test_what_is_read_before_a_seek_does_not_come_after_it(cluster: Cluster) -> None:
    cluster.consumer.incremental_assign([at(A, 0)])
    assert cluster.read(1) == [0]
    cluster.consumer.seek(at(A, 0))
    assert cluster.read(3) == [0, 1, 2]


def test_assigning_twice_and_unassigning_what_is_not_assigned_are_errors(cluster: Cluster) -> None:
    cluster.consumer.incremental_assign([at(A, 0)])
    assert code_of(cluster.consumer.incremental_assign, [at(A, 0)]) == ck.KafkaError._CONFLICT
    assert code_of(cluster.consumer.incremental_unassign, [at(B, 0)]) == ck.KafkaError._INVALID_ARG


def test_a_position_without_a_record_to_go_on_from_is_an_error(cluster: Cluster) -> None:
    cluster.consumer.incremental_assign([at(A, RECORDS + 100)])
    message = None
    deadline = time.monotonic() + 10
    while message is None and time.monotonic() < deadline:
        message = cluster.consumer.poll(0.5)
    assert message is not None
    assert message.error().code() == ck.KafkaError._AUTO_OFFSET_RESET


def test_a_closed_consumer_does_nothing(cluster: Cluster) -> None:
    consumer = cluster.consumer
    consumer.close()
    for call, arguments in (
        (consumer.consume, (1, 0.0)),
        (consumer.poll, (0.0,)),
        (consumer.seek, (at(A, 0),)),
        (consumer.pause, ([at(A, 0)],)),
        (consumer.incremental_assign, ([at(A, 0)],)),
        (consumer.consumer_group_metadata, ()),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            call(*arguments)


# ---------------------------------------------------------------------- producers


def test_a_producers_calls_have_an_order(cluster: Cluster) -> None:
    """Each call in each state in which it is wrong."""
    producer, wrong = cluster.open_producer("order"), ck.KafkaError._STATE

    def refuses(*names: str) -> None:
        calls = {
            "init": (producer.init_transactions, 10.0),
            "begin": (producer.begin_transaction,),
            "produce": (producer.produce, *OUTPUT),
            "commit": (producer.commit_transaction, 10.0),
            "abort": (producer.abort_transaction, 10.0),
        }
        for name in names:
            call, *arguments = calls[name]
            assert code_of(call, *arguments) == wrong, name

    refuses("begin", "produce", "commit", "abort")
    producer.init_transactions(10.0)
    refuses("init", "produce", "commit", "abort")
    producer.begin_transaction()
    refuses("init", "begin")
    producer.produce(*OUTPUT)
    producer.commit_transaction(10.0)
    refuses("init", "produce", "commit", "abort")
    producer.begin_transaction()
    producer.produce(*OUTPUT)
    producer.abort_transaction(10.0)
    refuses("init", "produce", "commit", "abort")


def test_offsets_need_the_groups_metadata(cluster: Cluster) -> None:
    producer = cluster.open_producer("metadata")
    producer.init_transactions(10.0)
    producer.begin_transaction()
    with pytest.raises(TypeError):
        producer.send_offsets_to_transaction([at(A, 1)], None, 5.0)


# ---------------------------------------------------------------------- the broker: the mock cluster has no such rules


def begun(producer: MemoryProducer) -> MemoryProducer:
    producer.init_transactions(1.0)
    producer.begin_transaction()
    return producer


def test_outputs_and_offsets_are_seen_after_the_commit_only() -> None:
    kafka = MemoryKafka({A: [True] * RECORDS})
    producer = begun(opened(kafka))
    producer.produce(*OUTPUT)
    producer.send_offsets_to_transaction([at(A, 1)], kafka.generation, 1.0)
    assert (kafka.outputs, kafka.committed) == ([], {})
    producer.commit_transaction(1.0)
    assert (kafka.outputs, kafka.committed) == ([(*A, 0)], {A: 1})


def test_an_aborted_transaction_leaves_nothing() -> None:
    kafka = MemoryKafka({A: [True] * RECORDS})
    producer = begun(opened(kafka))
    producer.produce(*OUTPUT)
    producer.send_offsets_to_transaction([at(A, 1)], kafka.generation, 1.0)
    producer.abort_transaction(1.0)
    producer.begin_transaction()
    producer.commit_transaction(1.0)
    assert (kafka.outputs, kafka.committed) == ([], {})


def test_offsets_of_an_open_transaction_are_unstable() -> None:
    """Nobody reads on from what was committed before it, or both would answer the same records (KIP-447)."""
    kafka = MemoryKafka({A: [True] * RECORDS}, others={A})
    producer, consumer = begun(opened(kafka)), MemoryConsumer(kafka)
    producer.send_offsets_to_transaction([at(A, 1)], kafka.generation, 1.0)
    assert code_of(consumer.committed, [at(A, 0)], 1.0) == ck.KafkaError.UNSTABLE_OFFSET_COMMIT
    kafka.others_work(A, 2)
    assert kafka.outputs == []
    producer.commit_transaction(1.0)
    assert [tp.offset for tp in consumer.committed([at(A, 0)], 1.0)] == [1]


def test_offsets_of_an_older_generation_are_refused_and_nothing_but_an_abort_helps() -> None:
    kafka = MemoryKafka({A: [True] * RECORDS})
    producer = begun(opened(kafka))
    old, kafka.generation = kafka.generation, kafka.generation + 1
    assert code_of(producer.send_offsets_to_transaction, [at(A, 1)], old, 1.0) == ck.KafkaError.ILLEGAL_GENERATION
    assert code_of(producer.produce, *OUTPUT) == ck.KafkaError._STATE
    assert code_of(producer.commit_transaction, 1.0) == ck.KafkaError._STATE
    producer.abort_transaction(1.0)
    producer.begin_transaction()


def test_a_newer_producer_of_the_name_fences_the_older_one_for_good() -> None:
    kafka = MemoryKafka({A: [True] * RECORDS})
    old = begun(opened(kafka))
    old.produce(*OUTPUT)
    new = begun(opened(kafka))
    for call in (old.commit_transaction, old.abort_transaction):
        assert code_of(call, 1.0) == ck.KafkaError._FENCED
    assert code_of(old.begin_transaction) == ck.KafkaError._FENCED
    new.commit_transaction(1.0)
    assert kafka.outputs == []


def test_a_producer_of_another_name_fences_nobody() -> None:
    kafka = MemoryKafka({A: [True] * RECORDS})
    first, second = begun(opened(kafka, "one")), begun(opened(kafka, "two"))
    for producer in (first, second):
        producer.produce(*OUTPUT)
        producer.commit_transaction(1.0)
    assert len(kafka.outputs) == 2


def test_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() -> None:
    now = 0.0
    kafka = MemoryKafka({A: [True] * RECORDS}, clock=lambda: now, others={A})
    producer = begun(opened(kafka))
    producer.produce(*OUTPUT)
    producer.send_offsets_to_transaction([at(A, 1)], kafka.generation, 1.0)
    now = 10.5
    kafka.others_work(A, 1)
    assert kafka.outputs == [(*A, 0)], "its offsets are stable again"
    assert code_of(producer.commit_transaction, 1.0) == ck.KafkaError._FENCED
    assert kafka.outputs == [(*A, 0)]


def test_a_commit_whose_answer_is_lost_is_not_made_twice() -> None:
    kafka = MemoryKafka({A: [True] * RECORDS}, lost_answers=1)
    producer = begun(opened(kafka))
    producer.produce(*OUTPUT)
    assert code_of(producer.commit_transaction, 1.0) == ck.KafkaError._TIMED_OUT
    producer.commit_transaction(1.0)
    assert kafka.outputs == [(*A, 0)]


def test_without_transactions_an_output_is_there_after_a_flush() -> None:
    kafka = MemoryKafka({A: [True] * RECORDS})
    producer = MemoryProducer(kafka).opened({})
    producer.produce(*OUTPUT)
    producer.purge()
    producer.flush(1.0)
    assert kafka.outputs == []
    producer.produce(*OUTPUT)
    assert kafka.outputs == []
    producer.flush(1.0)
    assert kafka.outputs == [(*A, 0)]


def test_an_output_that_is_refused_is_told_and_makes_the_commit_fail() -> None:
    told: list[Any] = []
    kafka = MemoryKafka({A: [True] * RECORDS}, delivery_failures=[ck.KafkaError._MSG_TIMED_OUT])
    producer = opened(kafka)
    begun(producer).produce(*OUTPUT[:4], lambda error, _: told.append(error.code()), *OUTPUT[5:])
    assert code_of(producer.commit_transaction, 1.0) == ck.KafkaError._STATE
    producer.abort_transaction(1.0)
    assert (told, kafka.outputs) == ([ck.KafkaError._MSG_TIMED_OUT], [])
