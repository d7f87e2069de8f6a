"""``dead_letter``: makes the dead letter of a failed record: the original, and headers that name the failure."""

from __future__ import annotations

from transforms.headers import (
    ERROR_ATTEMPTS,
    ERROR_CLASS,
    ERROR_MESSAGE,
    ERROR_STAGE,
    ORIGINAL_HEADERS,
    SOURCE,
    source_of,
)
from transforms.printable import one_line
from transforms.types import Failure, KafkaRecord, OutputRecord, UnreadableHeaders

MAX_MESSAGE_BYTES = 2000
"""The size limit of the error message in bytes. Headers count towards ``max.message.bytes``; the dead letter must fit."""


def dead_letter(record: KafkaRecord, failure: Failure, topic: str) -> OutputRecord:
    """Returns the dead letter of ``record``, to write to ``topic``.

    Key, value, timestamp and all headers are those of the original. These headers are appended: ``inference.error.stage``,
    ``.class``, ``.message`` (UTF-8, at most 2,000 bytes), ``.attempts`` and ``inference.source``. If a record becomes a dead
    letter for a second time, its older headers stay, and consumers use the last one of a name.

    Args:
        record: The input record.
        failure: Why it has no prediction.
        topic: The dead-letter topic.
    """
    message = one_line(failure.message).encode("utf-8", "backslashreplace")
    if len(message) > MAX_MESSAGE_BYTES:
        message = message[: MAX_MESSAGE_BYTES - 3].decode("utf-8", "ignore").encode() + "…".encode()
    headers = [
        *record.headers,
        (ERROR_STAGE, failure.stage.encode()),
        (ERROR_CLASS, failure.error_class.encode()),
        (ERROR_MESSAGE, message),
        (ERROR_ATTEMPTS, str(failure.attempts).encode()),
        (SOURCE, source_of(record)),
    ]
    if isinstance(record.headers, UnreadableHeaders):
        headers.append((ORIGINAL_HEADERS, b"?"))
    source = (record.topic, record.partition, record.offset)
    return OutputRecord(topic, record.key, record.value, headers, record.timestamp_ms, source, failure.stage)
