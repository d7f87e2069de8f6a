"""Writes records by a Produce request of our own: with timestamps and header names that no client library writes.

https://kafka.apache.org/protocol#The_Messages_Produce (version 3) and https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from confluent_kafka.admin import AdminClient

from transforms.clients.wire.tensorflow.tensors import varint

_CASTAGNOLI = 0x82F63B78
TIMEOUT_S = 60.0


def produce(
    bootstrap: str,
    topic: str,
    records: Sequence[tuple[bytes, int]],
    partition: int = 0,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Writes ``(value, timestamp in milliseconds)`` pairs to one partition, as one batch, with null keys and these headers.

    Raises:
        AssertionError: The broker refuses them.
    """
    metadata = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2}).list_topics(topic, timeout=TIMEOUT_S)
    leader = metadata.brokers[metadata.topics[topic].partitions[partition].leader]
    batch = _batch(records, headers)
    body = struct.pack(">hhii", -1, -1, 30_000, 1)  # no transactional id; all acknowledgements; time-out; one topic
    body += _text(topic) + struct.pack(">iii", 1, partition, len(batch)) + batch
    request = struct.pack(">hhi", 0, 3, 7) + _text("tests") + body  # Produce, version 3, correlation id
    with socket.create_connection((leader.host, leader.port), TIMEOUT_S) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answers:
            (size,) = struct.unpack(">i", answers.read(4))
            answer = answers.read(size)
    # correlation id, topics, the topic's name, partitions, partition: then its error
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic) + 4 + 4)
    assert error == 0, f"Kafka's error {error}"


def _batch(records: Sequence[tuple[bytes, int]], headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    first = records[0][1]
    rows = b""
    for offset, (value, timestamp_ms) in enumerate(records):
        row = b"\0" + _varint(timestamp_ms - first) + _varint(offset) + _varint(-1)
        row += _varint(len(value)) + value + _varint(len(headers))
        row += b"".join(_varint(len(text)) + text for header in headers for text in header)
        rows += _varint(len(row)) + row
    checked = struct.pack(">hiqqqhii", 0, len(records) - 1, first, max(at for _, at in records), -1, -1, -1, len(records))
    checked += rows
    body = struct.pack(">ibI", -1, 2, _crc32c(checked)) + checked  # leader epoch, magic
    return struct.pack(">qi", 0, len(body)) + body


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _varint(number: int) -> bytes:
    return varint((number << 1) ^ (number >> 63))  # zigzag


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
