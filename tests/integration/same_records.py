"""One input for every runner and both implementations of Kafka, and what must be equal of what they write.

The matrix that runs it, each against what the DirectRunner writes for it:

* Prism, native and Beam's Java pair: ``test_beam_pair.py``;
* a Flink cluster, native: ``test_flink.py``;
* the job staged for Dataflow, run on Prism, Java pair: ``test_dataflow.py``.
"""

from __future__ import annotations

from typing import Any

from tests import topics
from transforms.types import Headers, KafkaRecord

RECORDS: list[tuple[bytes | None, bytes | None, Headers]] = [
    (b"key", b'{"x": [1.0]}', [("traceparent", b"00-0a-0b-01"), ("twice", b"1"), ("twice", b"\xff"), ("null", None)]),
    (None, b'{"x": [2, 3]}', []),
    (b"", b"[4]", [("empty", b"")]),
    (b"dead", None, [("kept", b"1")]),
    (None, b'{"x": ["text"]}', []),
    (None, b'{"x": [', []),
    (b"empty", b"", []),
    (b"guilty", b'{"x": [666]}', []),
    (b"\x00\xff", b'{"x": [5]}', []),
]
"""Key, value, headers: null and empty keys, a tombstone, and a dead letter of every stage."""

DEAD = {"EmptyValue": 1, "FieldError": 1, "JsonError": 1, "Rejected": 1, "Tombstone": 1}
"""How many of ``RECORDS`` become dead letters, by class, if the model refuses what ``is_poison`` says."""

VARIES = ("inference.latency_ms", "inference.attempts", "inference.error.attempts")


def is_poison(row: dict[str, Any]) -> bool:
    """For the stub's ``faults.poison``."""
    return 666 in row["x"]


def produce(bootstrap: str, topic: str, partitions: int, start_ms: int) -> None:
    """Writes ``RECORDS`` to each partition, a millisecond apart from ``start_ms`` on."""
    keys, values, headers = zip(*RECORDS, strict=True)
    for partition in range(partitions):
        topics.produce(
            bootstrap, topic, values, keys=keys, headers=headers,
            timestamps_ms=range(start_ms, start_ms + len(RECORDS)), partitions=[partition] * len(RECORDS),
        )  # fmt: skip


def comparable(records: list[KafkaRecord], null: bytes | None = None) -> list[tuple[object, ...]]:
    """What must be equal of outputs, by the records that they were made from; not the time that a request took.

    Args:
        records: Of an output or dead-letter topic.
        null: What stands for a header's null value: Java's sink knows none.
    """
    found = []
    for record in records:
        headers = [(name, null if value is None else value) for name, value in record.headers if name not in VARIES]
        found.append((topics.source_of(record), record.partition, record.key, record.value, record.timestamp_ms, headers))
    return sorted(found, key=lambda one: str(one[0]))
