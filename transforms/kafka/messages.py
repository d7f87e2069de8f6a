"""confluent_kafka's messages as ``KafkaRecord`` values, with headers that it can't read."""

from __future__ import annotations

import operator
from typing import Any

from transforms.kafka.vendor import timestamp_of
from transforms.types import Headers, KafkaRecord, UnreadableHeaders

_headers = operator.methodcaller("headers")
"""Not ``message.headers()``: the interpreter's fast path for such a call (CPython 3.11) overlooks the exception, which then
comes up in whatever is called next."""


def record_of(message: Any) -> KafkaRecord:
    """Returns the record of a message without an error."""
    return KafkaRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        timestamp_of(*message.timestamp()),
        message.key(),
        message.value(),
        headers_of(message),
    )


def headers_of(message: Any) -> Headers:
    """Returns a message's headers: ``UnreadableHeaders`` where a name is not UTF-8.

    confluent_kafka 2.16 raises a ``SystemError`` then, whose cause is the ``UnicodeDecodeError``; asked again, it gives a
    list with a null pointer in it. So it is asked once.
    """
    try:
        return _headers(message) or []
    except (SystemError, UnicodeDecodeError) as error:
        cause = error if isinstance(error, UnicodeDecodeError) else error.__cause__
        if not isinstance(cause, UnicodeDecodeError):
            raise
        return UnreadableHeaders(f"the name of a header is not UTF-8 (byte {cause.start + 1} of {len(cause.object)})")
