"""Between Java's rows and this project's records; and the order that chunks keep."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from apache_beam import coders

from transforms.headers import TIMESTAMP
from transforms.kafka.beam.io import ChunksByPartition, SingleRecords, Ticks, record_of, row_of
from transforms.kafka.beam.rows import JavaRecord
from transforms.types import KafkaRecord, OutputRecord


def row(**given: Any) -> Any:
    fields = {"topic": "t", "partition": 1, "offset": 7, "timestamp": 5, "key": None, "value": None, "headers": None}
    return SimpleNamespace(**{**fields, "timestampTypeId": 0, "timestampTypeName": "CreateTime", **given})


def test_a_row_of_java_is_a_record() -> None:
    """Null is not empty; headers keep their order and may repeat; a topic without timestamps has none."""
    headers = [SimpleNamespace(key="a", value=b"1"), SimpleNamespace(key="a", value=None)]
    found = record_of(row(key=b"", value=b"v", headers=headers))
    assert found == KafkaRecord("t", 1, 7, 5, b"", b"v", [("a", b"1"), ("a", None)])
    assert record_of(row()) == KafkaRecord("t", 1, 7, 5, None, None, [])
    assert record_of(row(timestampTypeId=-1, timestamp=-1)).timestamp_ms is None
    assert record_of(row(timestamp=-1)).timestamp_ms is None, "what Kafka stores for none"
    assert record_of(row(timestamp=0)).timestamp_ms == 0


def output(key: bytes | None, value: bytes | None = b"v", partition: int = 5) -> OutputRecord:
    return OutputRecord("out", key, value, [("h", b"1"), ("null", None)], 9, ("in", partition, 0), None)


@pytest.mark.parametrize(("key", "partition"), [(b"k", None), (b"", None), (None, 2)])
def test_an_output_is_a_row_that_java_can_read(key: bytes | None, partition: int | None) -> None:
    """Through the coder that both sides speak. A null key goes to its input's partition, modulo the count."""
    sent = row_of(output(key), {"out": 3})
    coder = coders.RowCoder.from_type_hint(JavaRecord, None)
    found = coder.decode(coder.encode(sent))
    assert (found.key, found.value, found.topic, found.timestamp) == (key, b"v", "out", 9)
    assert found.partition == (None if partition is None else np.int32(partition))
    assert [tuple(header) for header in found.headers] == [("h", b"1"), ("null", b"")], "Java's sink has no null there"


@pytest.mark.parametrize(
    ("timestamp_ms", "written", "told"), [(0, 0, None), (9, 9, None), (-5, None, b"-5"), (None, None, b"-1")]
)
def test_a_timestamp_that_java_can_not_write_stands_in_a_header(
    timestamp_ms: int | None, written: int | None, told: bytes | None
) -> None:
    """``ProducerRecord`` throws on a negative one, which would end the job; it writes 0 as it is."""
    found = row_of(output(b"k")._replace(timestamp_ms=timestamp_ms), {})
    assert found.timestamp == written
    assert dict(found.headers).get(TIMESTAMP) == told


def test_a_tombstone_stays_null() -> None:
    coder = coders.RowCoder.from_type_hint(JavaRecord, None)
    assert coder.decode(coder.encode(row_of(output(b"k", None), {}))).value is None


def test_chunks_keep_partitions_apart_and_their_order() -> None:
    stage = ChunksByPartition(2, clock=lambda: 1.0)
    stage.start_bundle()
    records = [record_of(row(partition=number, offset=offset)) for offset in range(3) for number in (0, 1)]
    found = [element for record in records for element in stage.process(record)]
    found += list(stage.finish_bundle())
    chunks = [(element.value[0], [record.offset for record in element.value[1]]) for element in found]
    assert chunks == [("t/0", [0, 1]), ("t/1", [0, 1]), ("t/0", [2]), ("t/1", [2])]
    assert len({element.timestamp for element in found}) == 1, "else Prism would sort what was read first behind the rest"


def test_a_failed_bundle_leaves_nothing_behind() -> None:
    stage = ChunksByPartition(2)
    stage.start_bundle()
    assert list(stage.process(record_of(row()))) == []
    stage.start_bundle()
    assert list(stage.finish_bundle()) == []


def test_single_records_come_in_their_order_at_one_time() -> None:
    stage = SingleRecords(clock=lambda: 2.0)
    stage.start_bundle()
    found = list(stage.process([output(b"1"), output(b"2")]))
    assert [element.value.key for element in found] == [b"1", b"2"]
    assert len({element.timestamp for element in found}) == 1


def test_a_later_bundle_has_a_later_time_whatever_the_clock_says() -> None:
    times = iter([5.0, 5.0, 4.0, 6.0])
    ticks = Ticks(lambda: next(times))
    found = [ticks.next().micros // 1000 for _ in range(4)]
    assert found == [5000, 5001, 5002, 6000]
