"""Outputs that Kafka refuses: which one it was, what is written in its place, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable

import confluent_kafka as ck
import pytest

from tests.kafka.native.memory_job import A, Job, Recorder
from tests.kafka.native.memory_kafka import Output
from tests.kafka.native.memory_mender import ORIGINAL, MemoryOriginals
from tests.kafka.native.test_exactly_once import outcome
from transforms.errors import KafkaError
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE
from transforms.kafka.native.mending import ALONE, SMALL_BATCH_BYTES
from transforms.kafka.native.states import CommitResult
from transforms.kafka.topic_limits import TopicLimits

E = ck.KafkaError
NOW_MS = 1_000_000_000
DELIVERIES = (EXACTLY_ONCE, AT_LEAST_ONCE)
PREDICTIONS = tuple(offset for offset in range(20) if offset % 5)
"""Offsets that ``outcome`` makes a prediction of; the others are dead letters already."""

Refuses = Callable[[Output], int | None]


def offsets_refused(code: int, *offsets: int, topic: str = "out") -> Refuses:
    """A topic that does not take the outputs of some offsets."""
    return lambda output: code if output.topic == topic and output.source[2] in offsets else None


def job_with(refuses: Refuses, records: int = 20, delivery: str = EXACTLY_ONCE, **limits: TopicLimits) -> Job:
    job = Job([True] * records, delivery=delivery, dead_letter_topic="dead", limits=limits)
    job.kafka.refuses = refuses
    return job


def dead(job: Job) -> dict[int, str]:
    """Offset to the class of the dead letters that were written."""
    taken = {source[2]: output for source, output in job.producer.taken.items() if output.topic == "dead"}
    return {at: (dict(output.headers)["inference.error.class"] or b"").decode() for at, output in sorted(taken.items())}


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("guilty", [(6,), (6, 7), (1, 6, 13, 19), PREDICTIONS])
@pytest.mark.parametrize("code", [E.INVALID_RECORD, E.INVALID_TIMESTAMP, E.MSG_SIZE_TOO_LARGE, E.POLICY_VIOLATION])
def test_the_guilty_are_dead_letters_and_the_others_are_written(
    delivery: str, guilty: tuple[int, ...], code: int, heard: Recorder
) -> None:
    """Whether or not librdkafka names them, and with nothing known of the topic; no record is read or answered twice."""
    job = job_with(offsets_refused(code, *guilty), delivery=delivery)
    assert len(job.bundle()) == 20
    written = {source[2] for source, output in job.producer.taken.items() if output.topic == "out"}
    assert (set(dead(job)), written) == (set(guilty), set(range(20)) - set(guilty))
    size = code == E.MSG_SIZE_TOO_LARGE
    named = code == E.INVALID_TIMESTAMP and len(guilty) == 1
    assert set(dead(job).values()) <= {
        "WriteTooLarge" if size else "TimestampRefused" if named else "WriteRefused",
        "TimestampRefused",
    }
    assert heard.rollbacks == []
    [(predictions, classes, _)] = heard.commits
    assert predictions + sum(classes.values()) == 20
    assert job.kafka.committed == {A: 20} or job.consumer.commits[-1] == {A: 20}
    if delivery == EXACTLY_ONCE:
        assert job.kafka.outputs == job.kafka.records(), "each once, in the order of the input"


def test_a_dead_letter_is_of_the_input_record() -> None:
    job = job_with(offsets_refused(E.INVALID_RECORD, 6))
    job.bundle()
    letter = job.producer.taken["in", 0, 6]
    assert (letter.topic, letter.key, letter.value, letter.timestamp_ms) == ("dead", b"k", ORIGINAL, 1_006)
    headers = dict(letter.headers)
    assert (headers["h"], headers["inference.error.stage"], headers["inference.source"]) == (b"1", b"write", b"in/0/6")


def test_what_a_limit_explains_needs_no_smaller_batches() -> None:
    """All records that break it are found at once, whichever Kafka has named."""
    job = job_with(offsets_refused(E.INVALID_TIMESTAMP, 3, 6, 7, 19), out=TopicLimits(before_max_ms=3_600_000))
    job.session.begin()
    job.read()
    old = (3, 6, 7, 19)
    job.write([record if record.offset in old else record._replace(timestamp_ms=NOW_MS) for record in job.records])
    assert job.session.commit() is CommitResult.FINAL
    assert dead(job) == dict.fromkeys(old, "TimestampRefused")
    assert job.producer.aborted == 2, "the refusal, and librdkafka's gap in the sequence numbers after it"
    assert "batch.size" not in job.producer.properties


def test_a_timestamp_that_was_refused_is_replaced_and_named() -> None:
    job = job_with(offsets_refused(E.INVALID_TIMESTAMP, 6))
    job.bundle()
    letter = job.producer.taken["in", 0, 6]
    assert letter.timestamp_ms == NOW_MS
    assert dict(letter.headers)["inference.timestamp_ms"] == b"1006"


def test_after_a_refusal_outputs_are_compared_with_the_limits_before_they_are_written() -> None:
    limits = {"out": TopicLimits(wants_key=True)}

    def keyless(output: Output) -> int | None:
        return E.INVALID_RECORD if output.topic == "out" and output.key is None else None

    job = Job([True] * 40, dead_letter_topic="dead", limits=limits)
    job.kafka.refuses = keyless
    for _ in range(2):
        job.session.begin()
        job.read(most=20)
        records = [r._replace(key=None) if r.offset % 20 == 6 else r for r in job.records]
        job.write(records)
        assert job.session.commit() is CommitResult.FINAL
    assert dead(job) == {6: "KeyRequired", 26: "KeyRequired"}
    assert job.producer.aborted == 2, "both for the first bundle"
    assert job.kafka.outputs == job.kafka.records()


def test_a_batch_that_is_too_large_is_no_record_that_is() -> None:
    """The topic's limit is read, and batches are made by it."""
    job = Job([True] * 8, dead_letter_topic="dead", limits={"out": TopicLimits(max_bytes=200_000)})
    job.kafka.refuses = lambda output: (
        E.MSG_SIZE_TOO_LARGE if int(job.producer.properties.get("batch.size", 1_000_000)) > 200_000 else None
    )
    job.bundle()
    assert dead(job) == {}
    assert job.kafka.outputs == job.kafka.records()
    assert job.producer.properties["batch.size"] == 200_000


def test_a_batch_that_is_too_large_for_a_limit_that_cannot_be_read() -> None:
    job = Job([True] * 8, dead_letter_topic="dead")
    job.kafka.refuses = lambda output: (
        E.MSG_SIZE_TOO_LARGE if int(job.producer.properties.get("batch.size", 1_000_000)) > 20_000 else None
    )
    job.bundle()
    assert dead(job) == {}
    assert job.kafka.outputs == job.kafka.records()
    assert job.producer.properties["batch.size"] == SMALL_BATCH_BYTES


def test_batches_of_one_are_for_a_while_only() -> None:
    job = job_with(offsets_refused(E.POLICY_VIOLATION, 6), 400)
    job.session.begin()
    job.read(most=20)
    job.write()
    job.session.commit()
    assert job.producer.properties["batch.size"] == ALONE
    for _ in range(10):
        job.session.begin()
        job.read(most=20)
        job.write()
        job.session.commit()
    assert "batch.size" not in job.producer.properties
    assert job.kafka.outputs == job.kafka.records()[:220]


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_dead_letter_that_is_refused_is_made_to_fit(delivery: str) -> None:
    """It keeps its own class. Offsets that are multiples of 5 are dead letters of the tests' ``outcome``."""
    job = Job([True] * 10, delivery=delivery, dead_letter_topic="out")

    def by_length(output: Output) -> int | None:
        return E.MSG_SIZE_TOO_LARGE if len(output.value or b"") > 100 else None

    job.kafka.refuses = by_length
    job.session.begin()
    job.read()
    job.session.write([outcome(r)._replace(value=b"v" * 900 if r.offset == 5 else b"v") for r in job.records])
    job.session.commit()
    letter = job.producer.taken["in", 0, 5]
    headers = dict(letter.headers)
    assert (headers["inference.error.class"], headers["inference.original.value_bytes"]) == (b"E", b"900")
    assert b"v" * len(letter.value or b"") == letter.value
    assert job.kafka.outputs == job.kafka.records() or delivery == AT_LEAST_ONCE


def test_a_dead_letter_that_can_never_be_taken_ends_the_job_and_is_named() -> None:
    job = job_with(lambda output: E.POLICY_VIOLATION if output.source[2] == 6 else None)
    job.session.begin()
    job.read()
    job.write()
    with pytest.raises(KafkaError, match=r"--dead_letter_topic=dead: refuses the dead letter of in/0/6.*POLICY_VIOLATION"):
        job.session.commit()


def test_an_input_record_that_is_gone_leaves_what_the_prediction_knows() -> None:
    class Gone(MemoryOriginals):
        def read(self, sources: object) -> dict[object, object]:  # type: ignore[override]
            return {}

    job = Job([True] * 10, dead_letter_topic="dead", originals=Gone)
    job.kafka.refuses = offsets_refused(E.INVALID_RECORD, 6)
    job.bundle()
    letter = job.producer.taken["in", 0, 6]
    assert (letter.key, letter.value) == (b"k", None)
    assert dict(letter.headers)["inference.original.value_bytes"] == b"?"


def test_a_refusal_in_the_background_is_mended_there(heard: Recorder) -> None:
    """The next bundle is read meanwhile, and is not rolled back."""
    job = Job([True] * 40, dead_letter_topic="dead", overlap_from=1)
    job.kafka.refuses = offsets_refused(E.INVALID_RECORD, 6, 7, 31)
    for _ in range(2):
        job.session.begin()
        job.read(most=20)
        job.write()
        assert job.session.commit() is CommitResult.BEGUN
    assert job.session.finish_commit()
    assert job.kafka.outputs == job.kafka.records()
    assert set(dead(job)) == {6, 7, 31}
    assert heard.rollbacks == []


def test_a_refusal_and_a_rebalance_at_once_is_a_rollback(heard: Recorder) -> None:
    job = job_with(offsets_refused(E.INVALID_RECORD, 6))
    job.session.begin()
    job.read()
    job.write()
    job.kafka.generation += 1
    assert job.session.commit() is CommitResult.ROLLED_BACK
    job.consumer.revoke({A})
    job.consumer.assign({A})
    while job.kafka.committed.get(A) != 20:
        job.bundle()
    assert job.kafka.outputs == job.kafka.records()
    assert set(dead(job)) == {6}
