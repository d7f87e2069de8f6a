"""A dead letter is read back as what it was: key, value, timestamp and headers; or refused, never guessed."""

from __future__ import annotations

import confluent_kafka as ck
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dead_letter import dead_letter
from transforms.kafka.dead_letters.letter import (
    HEADERS_GONE,
    SOURCE_DIFFERS,
    SOURCE_GONE,
    Letter,
    read_letter,
    replayed,
    restored,
)
from transforms.kafka.fitting import fitted
from transforms.kafka.topic_limits import TopicLimits
from transforms.types import Failure, Headers, KafkaRecord, OutputRecord, UnreadableHeaders

NOW_MS = 1_800_000_000_000
FAILURE = Failure("decode", "JsonError", "the value is not JSON", 0)
COMPACTED = TopicLimits(max_bytes=1_000_000, wants_key=True, before_max_ms=1000, after_max_ms=1000)
E = ck.KafkaError

names = st.sampled_from(["traceparent", "h", "inference.source", "inference.model", "inference.timestamp_ms"])
records = st.builds(
    KafkaRecord,
    st.just("in"),
    st.integers(0, 9),
    st.integers(0, 10**12),
    st.none() | st.integers(-5, 10**13).filter(lambda at: at != -1),
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=50),
    st.lists(st.tuples(names, st.none() | st.binary(max_size=5)), max_size=5),
)


def as_read(output: OutputRecord, offset: int = 7) -> KafkaRecord:
    """A dead letter as it stands in its topic."""
    return KafkaRecord(output.topic, 1, offset, output.timestamp_ms, output.key, output.value, output.headers)


def letter_of(output: OutputRecord) -> Letter:
    letter = read_letter(as_read(output))
    assert letter is not None
    return letter


@given(records)
def test_what_was_not_changed_comes_back_as_it_was(record: KafkaRecord) -> None:
    """Also with headers of another job's predictions, which have names of ours."""
    letter = letter_of(dead_letter(record, FAILURE, "dlq"))
    assert not letter.needs_original
    assert restored(letter, None) == record
    assert (letter.stage, letter.error_class, letter.message) == ("decode", "JsonError", "the value is not JSON")
    assert (letter.place, letter.source) == ((1, 7), ("in", record.partition, record.offset))


@given(records.filter(lambda record: "inference.timestamp_ms" not in dict(record.headers)))
def test_a_replaced_timestamp_and_a_null_key_are_restored_from_the_headers(record: KafkaRecord) -> None:
    changed = fitted(dead_letter(record, FAILURE, "dlq"), E.INVALID_RECORD, COMPACTED, NOW_MS)
    if changed is not None:
        assert restored(letter_of(changed), None) == record


def cut(record: KafkaRecord, most: int = 4_096) -> Letter:
    """The dead letter of a record that is too large for the dead-letter topic."""
    changed = fitted(dead_letter(record, FAILURE, "dlq"), E.MSG_SIZE_TOO_LARGE, TopicLimits(most), NOW_MS)
    assert changed is not None
    return letter_of(changed)


def record(value: bytes | None = b"v" * 10_000, key: bytes | None = b"k", headers: Headers | None = None) -> KafkaRecord:
    return KafkaRecord("in", 3, 42, NOW_MS, key, value, [] if headers is None else headers)


@pytest.mark.parametrize(
    "original",
    [
        record(),
        record(headers=[("h", b"x" * 9_000)]),
        record(b"v", b"k" * 9_000),
        record(b"v" * 9_000, b"k" * 9_000, [("h", b"x" * 9_000)]),
    ],
)
def test_what_was_cut_is_read_again_from_the_input(original: KafkaRecord) -> None:
    """Value, headers, key: whatever had to go."""
    letter = cut(original)
    assert letter.needs_original
    assert restored(letter, original) == original
    assert restored(letter, None) == SOURCE_GONE


@pytest.mark.parametrize(
    "other",
    [
        record(b"w" * 10_000),
        record(b"v" * 10_001),
        record(key=b"another"),
        record()._replace(timestamp_ms=NOW_MS + 1),
    ],
)
def test_a_topic_that_was_made_anew_has_another_record_there(other: KafkaRecord) -> None:
    assert restored(cut(record()), other) == SOURCE_DIFFERS


def test_headers_that_can_not_be_read_can_not_be_written_either() -> None:
    letter = letter_of(dead_letter(record(b"v", headers=UnreadableHeaders("a name is not UTF-8")), FAILURE, "dlq"))
    assert restored(letter, None) == HEADERS_GONE
    assert restored(cut(record()), record(headers=UnreadableHeaders("…"))) == HEADERS_GONE


def test_a_value_that_was_gone_when_the_dead_letter_was_written_is_refused() -> None:
    output = dead_letter(record(None), FAILURE, "dlq")
    letter = letter_of(output._replace(headers=[*output.headers, ("inference.original.value_bytes", b"?")]))
    assert restored(letter, None) == SOURCE_GONE


def test_the_broker_s_own_timestamps_are_not_taken_for_the_record_s() -> None:
    """``LogAppendTime``: the timestamp of the record stands only in its own topic."""
    read = as_read(dead_letter(record(b"v"), FAILURE, "dlq"))._replace(timestamp_ms=NOW_MS + 999)
    letter = read_letter(read, append_time=True)
    assert letter is not None
    assert letter.needs_original
    assert restored(letter, record(b"v")) == record(b"v")
    assert restored(letter, None) == SOURCE_GONE


def test_headers_of_dead_letters_before_are_taken_off_and_nothing_else() -> None:
    """Of a record that somebody copied back with all its headers. What a mirror added behind stays."""
    own: Headers = [("inference.source", b"chain/0/1"), ("h", b"1")]
    first = dead_letter(record(b"v", headers=own), FAILURE, "dlq")
    second = dead_letter(record(b"v", headers=[*first.headers, ("h", b"2")]), FAILURE, "dlq")
    letter = letter_of(second._replace(headers=[*second.headers, ("mirrored", b"yes")]))
    assert letter.headers == [*own, ("h", b"2"), ("mirrored", b"yes")]


def test_a_replay_counts_and_its_headers_survive_the_next_dead_letter() -> None:
    """They are ordinary headers of the input then; of each there is one."""
    now = record(b"v", headers=[("h", b"1")])
    for attempt in (1, 2, 3):
        letter = letter_of(dead_letter(now, FAILURE, "dlq"))
        assert letter.replays == attempt - 1
        found = restored(letter, None)
        assert isinstance(found, KafkaRecord)
        now = replayed(letter, found)
        assert now.headers == [
            ("h", b"1"),
            ("inference.replay.attempts", b"%d" % attempt),
            ("inference.replay.dead_letter", b"dlq/1/7"),
        ]


def test_attempts_are_counted_also_where_the_headers_did_not_fit() -> None:
    """A record whose headers were left out is read again, and has its count there."""
    original = record(headers=[("h", b"x" * 9_000), ("inference.replay.attempts", b"2")])
    letter = cut(original)
    found = restored(letter, original)
    assert isinstance(found, KafkaRecord)
    assert dict(replayed(letter, found).headers)["inference.replay.attempts"] == b"3"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("inference.source", b"in/0/1")],
        [("inference.error.stage", b"decode")],
        [("inference.error.stage", b"decode"), ("inference.source", b"in/x/1")],
        [("inference.error.stage", b"decode"), ("inference.source", None)],
        [("inference.error.stage", b"d"), ("inference.source", b"in/0/1"), ("inference.timestamp_ms", b"1e3")],
    ],
)
def test_what_is_no_dead_letter_of_ours_is_none(headers: Headers) -> None:
    assert read_letter(KafkaRecord("dlq", 0, 0, 0, None, b"v", headers)) is None
