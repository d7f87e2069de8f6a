"""A failed record as a dead letter: the original untouched, and headers that say why."""

from __future__ import annotations

from transforms.headers import ERROR_ATTEMPTS, ERROR_CLASS, ERROR_MESSAGE, ERROR_STAGE, SOURCE, source_of
from transforms.types import Failure, KafkaRecord, OutputRecord

MAX_MESSAGE_BYTES = 2000
"""A broker counts headers into ``max.message.bytes``: a long message must not make a dead letter too large to write."""


def dead_letter(record: KafkaRecord, failure: Failure, topic: str) -> OutputRecord:
    """Returns the dead letter of ``record``, to write to ``topic``.

    Key, value, timestamp and all headers are the original's. Added behind them: ``inference.error.stage``, ``.class``,
    ``.message`` (UTF-8, at most 2,000 bytes), ``.attempts`` and ``inference.source``. Where a record is a dead letter for
    the second time its older headers stay, and the last of a name counts, as everywhere in Kafka.
    """
    message = failure.message.encode("utf-8", "backslashreplace")
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
    source = (record.topic, record.partition, record.offset)
    return OutputRecord(topic, record.key, record.value, headers, record.timestamp_ms, source, failure.stage)
