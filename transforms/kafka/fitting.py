"""Changes a dead letter that its topic refused so that the topic takes it. A header names each change.

Kafka's error code says what is changed: the timestamp, the key, or the size. To make a dead letter smaller, first its value
is cut, then the input's headers are left out, then the key is replaced. Error class, message and source stay.
"""

from __future__ import annotations

from transforms.headers import (
    ERROR_MESSAGE,
    ERROR_STAGE,
    ORIGINAL_HEADERS,
    ORIGINAL_KEY,
    ORIGINAL_VALUE_BYTES,
    with_timestamp,
)
from transforms.kafka.topic_limits import TopicLimits
from transforms.kafka.vendor import TOO_LARGE
from transforms.types import Header, OutputRecord

BATCH_BYTES = 61
"""The bytes of a batch of one record, without those of the record (Kafka's record format 2)."""

_RECORD_BYTES, _HEADER_BYTES = 36, 10
"""The most bytes of a record, and of each header, without their contents: lengths, attributes and differences."""

KEY_SHOWN_BYTES = 1_000
SHORT_MESSAGE_BYTES = 200
SHORT_VALUE_BYTES = 100
"""A value that is not worth cutting: the header that says so is as long."""

REPLACED_MS = 60_000
"""A timestamp at most this far from the present was replaced already."""

LEAST_BYTES = 4_096
"""The lowest ``max.message.bytes`` that a dead-letter topic needs for the headers of an error."""


def size_of(record: OutputRecord) -> int:
    """Returns the most bytes that a batch of this record alone has, before compression."""
    size = BATCH_BYTES + _RECORD_BYTES + len(record.key or b"") + len(record.value or b"")
    return size + sum(_HEADER_BYTES + len(name.encode()) + len(value or b"") for name, value in record.headers)


def fitted(record: OutputRecord, code: int, limits: TopicLimits | None, now_ms: int) -> OutputRecord | None:
    """Returns a dead letter changed so that its topic takes it.

    Args:
        record: The dead letter that was refused.
        code: Kafka's error code.
        limits: The topic's, if they could be read.
        now_ms: The time, in milliseconds since the epoch.

    Returns:
        The changed dead letter; ``None`` if there is nothing left to change.
    """
    if code in TOO_LARGE:
        size, most = size_of(record), limits.max_bytes if limits is not None else None
        # One that is refused although it should fit: its limit is lower than we could learn.
        return shortened(record, most if most is not None and most < size else size // 2)
    changed = record
    if is_timestamp_refused(record.timestamp_ms, limits, now_ms) is not False:
        changed = with_timestamp_of_now(changed, now_ms)
    if record.key is None and (limits is None or limits.wants_key):
        changed = _with(changed, (ORIGINAL_KEY, None))._replace(key=_source(record))
    return None if changed is record else changed


def is_timestamp_refused(timestamp_ms: int | None, limits: TopicLimits | None, now_ms: int) -> bool | None:
    """Whether a topic refuses a timestamp; ``None`` if its limits are not known."""
    if timestamp_ms is None:
        return False
    if limits is None:
        return None
    ahead_ms = timestamp_ms - now_ms
    return (limits.after_max_ms is not None and ahead_ms > limits.after_max_ms) or (
        limits.before_max_ms is not None and -ahead_ms > limits.before_max_ms
    )


def with_timestamp_of_now(record: OutputRecord, now_ms: int) -> OutputRecord:
    """Returns a dead letter with the present time instead of the input's timestamp, unless it has it already."""
    if record.timestamp_ms is None or abs(now_ms - record.timestamp_ms) < REPLACED_MS:
        return record
    return record._replace(headers=with_timestamp(record.headers, record.timestamp_ms), timestamp_ms=now_ms)


def shortened(record: OutputRecord, most: int) -> OutputRecord | None:
    """Returns a dead letter of at most ``most`` bytes, or of as few as it can have; ``None`` if it is as short already."""
    before = size_of(record)
    changed = record
    if record.value is not None and len(record.value) > SHORT_VALUE_BYTES:
        changed = _with(changed, (ORIGINAL_VALUE_BYTES, _value_bytes(record)))
        keep = max(0, len(record.value) - (size_of(changed) - most))
        changed = changed._replace(value=record.value[:keep])
    if size_of(changed) > most and (input_headers := _count_before_ours(changed)):
        dropped = changed._replace(headers=changed.headers[input_headers:])
        changed = _with(dropped, (ORIGINAL_HEADERS, b"%d" % input_headers))
    if size_of(changed) > most and record.key is not None and len(record.key) > len(_source(record)):
        changed = _with(changed, (ORIGINAL_KEY, record.key[:KEY_SHOWN_BYTES]))._replace(key=_source(record))
    if size_of(changed) > most:
        cut: list[Header] = [
            (name, value[:SHORT_MESSAGE_BYTES] if name in (ERROR_MESSAGE, ORIGINAL_KEY) and value else value)
            for name, value in changed.headers
        ]
        changed = changed._replace(headers=cut)
    return changed if size_of(changed) < before else None


def _source(record: OutputRecord) -> bytes:
    return "/".join(map(str, record.source)).encode()


def _count_before_ours(record: OutputRecord) -> int:
    """How many headers stand before those of this failure: the input's."""
    names = [name for name, _ in record.headers]
    return len(names) - 1 - names[::-1].index(ERROR_STAGE) if ERROR_STAGE in names else 0


def _value_bytes(record: OutputRecord) -> bytes:
    ours = dict(record.headers[_count_before_ours(record) :])
    return ours.get(ORIGINAL_VALUE_BYTES) or b"%d" % len(record.value or b"")


def _with(record: OutputRecord, header: Header) -> OutputRecord:
    """Returns a record with a header behind the others; it takes the place of one of its name among ours."""
    at = _count_before_ours(record)
    ours = [(name, value) for name, value in record.headers[at:] if name != header[0]]
    return record._replace(headers=[*record.headers[:at], *ours, header])
