"""The broker and the topic helpers that the other tests rest on do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests import topics
from tests.kafka_broker import BrokerError, KafkaBroker, install
from transforms.types import Headers, KafkaRecord


@pytest.fixture
def topic(kafka: str) -> str:
    name = f"tools-{uuid4().hex[:8]}"
    topics.create_topic(kafka, name, 2)
    return name


def test_records_come_back_as_they_were_written(kafka: str, topic: str) -> None:
    """Keys, headers, timestamps, null keys and tombstones survive, and the offsets are those reported."""
    written = topics.produce(
        kafka,
        topic,
        [b"a", None, b""],
        keys=[b"k", b"", None],
        headers=[[("h", b"1"), ("h", None)], [], []],
        timestamps_ms=[1000, 2000, 3000],
        partitions=[1, 1, 0],
    )
    assert written == [(1, 0), (1, 1), (0, 0)]
    assert sorted(topics.read_all(kafka, topic)) == [
        KafkaRecord(topic, 0, 0, 3000, None, b"", []),
        KafkaRecord(topic, 1, 0, 1000, b"k", b"a", [("h", b"1"), ("h", None)]),
        KafkaRecord(topic, 1, 1, 2000, b"", None, []),
    ]


def test_read_committed_passes_over_aborted_records_and_markers(kafka: str, topic: str) -> None:
    """The reader ends although nothing but an aborted transaction and its marker lies at the end."""
    topics.produce(kafka, topic, [b"1", b"2"], partitions=[0, 0], transaction="commit")
    topics.produce(kafka, topic, [b"3"], partitions=[0], transaction="abort")
    assert [record.value for record in topics.read_all(kafka, topic)] == [b"1", b"2"]
    assert [record.value for record in topics.read_all(kafka, topic, "read_uncommitted")] == [b"1", b"2", b"3"]
    assert topics.end_offsets(kafka, topic) == {0: 5, 1: 0}  # 3 records and 2 markers


def test_deleted_records_partitions_and_committed_offsets(kafka: str, topic: str) -> None:
    """Retention, growth and a group's offsets can be arranged and seen."""
    topics.produce(kafka, topic, [b"1", b"2", b"3"], partitions=[0, 0, 0])
    topics.delete_records(kafka, topic, {0: 2})
    assert [record.offset for record in topics.read_all(kafka, topic)] == [2]
    topics.add_partitions(kafka, topic, 3)
    assert topics.partition_count(kafka, topic) == 3
    group = f"group-{topic}"
    assert topics.committed_offsets(kafka, group, topic) == {}
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 2, 7)], asynchronous=False)
    consumer.close()
    assert topics.committed_offsets(kafka, group, topic) == {2: 7}


def _output(offset: int, source: str | None, topic: str = "out", partition: int = 0) -> KafkaRecord:
    headers: Headers = [] if source is None else [(topics.SOURCE_HEADER, source.encode())]
    return KafkaRecord(topic, partition, offset, 0, None, b"", headers)


def test_the_check_finds_what_is_missing_doubled_strange_and_out_of_order() -> None:
    """Each kind of mistake is reported with the source concerned; dead letters count as outputs."""
    outputs = [_output(0, "in/0/0"), _output(1, "in/0/2"), _output(2, "in/0/1"), _output(3, "in/1/0"), _output(4, "in/9/9")]
    dead_letters = [_output(0, "in/1/0", "dead"), _output(1, None, "dead"), _output(2, "in/1/x", "dead")]
    report = topics.check_exactly_once({("in", 0): range(4), ("in", 1): range(1)}, outputs, dead_letters)
    assert not report.ok
    assert report.missing == [("in", 0, 3)]
    assert report.duplicated == [("in", 1, 0)]
    assert report.unexpected == [("in", 9, 9)]
    assert report.out_of_order == [(("in", 0, 2), ("in", 0, 1))]
    assert (report.expected, report.found, report.without_source) == (5, 8, 2)
    assert "1 missing: ('in', 0, 3)" in str(report)


def test_the_check_passes_what_is_right() -> None:
    """Order is demanded within an output partition, not between partitions; offsets may have gaps."""
    outputs = [_output(0, "in/0/7"), _output(0, "in/0/3", partition=1), _output(1, "in/0/8", partition=1)]
    inputs = topics.offsets_of([KafkaRecord("in", 0, offset, 0, None, b"", []) for offset in (3, 7, 8)])
    assert topics.check_exactly_once(inputs, outputs).ok


def test_data_outlive_a_restart_and_a_kill(own_kafka: KafkaBroker) -> None:
    """The same port and the same records."""
    name = f"restart-{uuid4().hex[:8]}"
    address = own_kafka.bootstrap
    topics.create_topic(address, name)
    topics.produce(address, name, [b"before"])
    own_kafka.restart()
    topics.produce(address, name, [b"between"])
    own_kafka.kill()
    own_kafka.start()
    assert own_kafka.bootstrap == address
    assert [record.value for record in topics.read_all(address, name)] == [b"before", b"between"]


def test_the_sasl_listener_knows_its_user_only(own_kafka: KafkaBroker) -> None:
    """The right password lists topics, a wrong one does not."""
    errors: list[KafkaError] = []
    login = {
        "bootstrap.servers": own_kafka.sasl_bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": own_kafka.user,
        "log_level": 0,
    }
    assert AdminClient({**login, "sasl.password": own_kafka.password}).list_topics(timeout=10).brokers
    wrong = AdminClient({**login, "sasl.password": "wrong", "error_cb": errors.append})
    with pytest.raises(KafkaException):
        wrong.list_topics(timeout=2)
    stop_at = time.monotonic() + 60
    while not errors and time.monotonic() < stop_at:
        wrong.poll(1)  # error_cb is called from here
    assert KafkaError._AUTHENTICATION in {error.code() for error in errors}


def test_the_broker_dies_with_its_parent() -> None:
    """After kill -9 of the process that started it, neither the JVM nor its data are left."""
    script = (
        "import time; from tests.kafka_broker import KafkaBroker; b = KafkaBroker(); "
        "print(b.pid, b.log_file.parent, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, directory = parent.stdout.readline().split()
    os.kill(int(pid), 0)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while (Path(directory).exists() or _runs(int(pid))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(int(pid))
    assert not Path(directory).exists()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java the error says what to install."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BrokerError, match=r"java is not on the PATH: install it .*openjdk"):
        install()


def test_a_broker_that_does_not_start_shows_its_log() -> None:
    """The reason stands in the error."""
    with pytest.raises(BrokerError, match=r"num\.network\.threads"):
        KafkaBroker(properties={"num.network.threads": "many"})


def _runs(pid: int) -> bool:
    try:
        # A process whose parent is gone may stay as a zombie until it is collected.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
