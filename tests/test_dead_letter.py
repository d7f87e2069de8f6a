"""Dead letters keep the original and say why."""

from __future__ import annotations

from transforms.dead_letter import MAX_MESSAGE_BYTES, dead_letter
from transforms.types import Failure, KafkaRecord


def test_the_original_is_untouched_and_the_reason_is_added() -> None:
    headers = [("traceparent", b"00-1"), ("h", None), ("h", b"\xff"), ("inference.source", b"older/0/1")]
    record = KafkaRecord("in", 3, 42, 1_700_000_000_123, b"k", b"\x00\xff", headers)
    letter = dead_letter(record, Failure("predict", "RejectedError", "the größe is wrong", 2), "dlq")
    assert letter == (
        "dlq",
        b"k",
        b"\x00\xff",
        [
            *headers,
            ("inference.error.stage", b"predict"),
            ("inference.error.class", b"RejectedError"),
            ("inference.error.message", "the größe is wrong".encode()),
            ("inference.error.attempts", b"2"),
            ("inference.source", b"in/3/42"),
        ],
        1_700_000_000_123,
        ("in", 3, 42),
        "predict",
    )
    assert len(headers) == 4, "the record's own list must not grow: a re-run bundle reads it again"


def test_nulls_stay_null() -> None:
    letter = dead_letter(KafkaRecord("in", 0, 0, None, None, None, []), Failure("decode", "Tombstone", "null"), "dlq")
    assert (letter.key, letter.value, letter.timestamp_ms) == (None, None, None)


def test_a_long_message_is_cut_between_characters() -> None:
    """Headers count into max.message.bytes."""
    record = KafkaRecord("in", 0, 0, None, None, b"", [])
    message = dict(dead_letter(record, Failure("predict", "X", "ü" * 5000), "dlq").headers)["inference.error.message"]
    assert message is not None
    assert len(message) <= MAX_MESSAGE_BYTES
    assert message.decode().rstrip("…") == "ü" * 998


def test_a_message_that_is_no_utf8_is_escaped() -> None:
    """Field names come from JSON, which can spell half a surrogate pair."""
    letter = dead_letter(KafkaRecord("in", 0, 0, None, None, b"", []), Failure("decode", "X", "field \ud800"), "dlq")
    assert ("inference.error.message", b"field \\ud800") in letter.headers
