"""A dead letter is changed until its topic takes it, and says of each change that it was made."""

from __future__ import annotations

import confluent_kafka as ck
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dead_letter import dead_letter
from transforms.dead_letter_classes import DeadLetterClass
from transforms.kafka.fitting import LEAST_BYTES, fitted, size_of
from transforms.kafka.topic_limits import TopicLimits
from transforms.types import KafkaRecord, OutputRecord

E = ck.KafkaError
NOW_MS = 1_700_000_000_000
FAR_MS = NOW_MS + 86_400_000


def letter(
    key: bytes | None = b"k", value: bytes | None = b"v", headers: int = 0, timestamp_ms: int | None = NOW_MS
) -> OutputRecord:
    record = KafkaRecord("in", 0, 7, timestamp_ms, key, value, [("h", b"x" * headers)] if headers else [])
    return dead_letter(record, DeadLetterClass.JSON_ERROR.failure("m" * 3000), "dead")


def test_size_first_the_value_gives_way() -> None:
    changed = fitted(letter(value=b"v" * 50_000), E.MSG_SIZE_TOO_LARGE, TopicLimits(max_bytes=20_000), NOW_MS)
    assert changed is not None
    assert 19_000 < size_of(changed) <= 20_000, "no more is cut than has to be"
    assert dict(changed.headers)["inference.original.value_bytes"] == b"50000"
    assert dict(changed.headers)["inference.error.class"] == b"JsonError"


def test_then_the_headers_of_the_input() -> None:
    changed = fitted(letter(value=b"v" * 500, headers=50_000), E.MSG_SIZE_TOO_LARGE, TopicLimits(max_bytes=20_000), NOW_MS)
    assert changed is not None
    assert [name for name, _ in changed.headers if not name.startswith("inference.")] == []
    assert dict(changed.headers)["inference.original.headers"] == b"1"
    assert changed.key == b"k"


def test_then_the_key() -> None:
    changed = fitted(letter(key=b"k" * 50_000), E.MSG_SIZE_TOO_LARGE, TopicLimits(max_bytes=20_000), NOW_MS)
    assert changed is not None
    assert (changed.key, dict(changed.headers)["inference.original.key"]) == (b"in/0/7", b"k" * 1000)


def test_a_limit_that_is_not_known_is_found_by_halves() -> None:
    found, refused = letter(value=b"v" * 900_000), 0
    while size_of(found) > 60_000:
        changed = fitted(found, E.MSG_SIZE_TOO_LARGE, None, NOW_MS)
        assert changed is not None
        found, refused = changed, refused + 1
    assert refused == 4
    assert [value for name, value in found.headers if name == "inference.original.value_bytes"] == [b"900000"]


@given(
    st.one_of(st.none(), st.integers(0, 6_000)), st.one_of(st.none(), st.integers(0, 6_000)), st.integers(0, 6_000),
    st.integers(LEAST_BYTES, 8_000),
)  # fmt: skip
def test_it_fits_into_the_least_topic_in_one_step(key: int | None, value: int | None, headers: int, limit: int) -> None:
    long = letter(None if key is None else b"k" * key, None if value is None else b"v" * value, headers)
    if size_of(long) > limit:
        changed = fitted(long, E.MSG_SIZE_TOO_LARGE, TopicLimits(max_bytes=limit), NOW_MS)
        assert changed is not None
        assert size_of(changed) <= limit


@pytest.mark.parametrize("limits", [None, TopicLimits(after_max_ms=3_600_000)])
@pytest.mark.parametrize("code", [E.INVALID_TIMESTAMP, E.INVALID_RECORD])
def test_a_timestamp_is_replaced(limits: TopicLimits | None, code: int) -> None:
    changed = fitted(letter(timestamp_ms=FAR_MS), code, limits, NOW_MS)
    assert changed is not None
    assert (changed.timestamp_ms, dict(changed.headers)["inference.timestamp_ms"]) == (NOW_MS, b"%d" % FAR_MS)
    assert fitted(changed, code, limits, NOW_MS + 5) is None, "no second time"


def test_a_key_is_given_where_the_topic_is_compacted() -> None:
    changed = fitted(letter(key=None), E.INVALID_RECORD, TopicLimits(wants_key=True), NOW_MS)
    assert changed is not None
    assert (changed.key, dict(changed.headers)["inference.original.key"]) == (b"in/0/7", None)
    assert fitted(letter(key=b""), E.INVALID_RECORD, TopicLimits(wants_key=True), NOW_MS) is None


def test_the_record_is_not_changed_in_place() -> None:
    before = letter(value=b"v" * 50_000, headers=10)
    copy = before._replace(headers=list(before.headers))
    fitted(before, E.MSG_SIZE_TOO_LARGE, TopicLimits(max_bytes=5_000), NOW_MS)
    assert before == copy
