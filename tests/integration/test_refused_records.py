"""Records that the output or dead-letter topic refuses, with a real Kafka: each is a dead letter, the others are answered.

Each of these ended the job, and every later start of it.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping

import pytest

from tests import raw_produce, topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import KafkaRecord

GUILTY = 50
RECORDS = 200
DAY_MS = 86_400_000
DELIVERIES = ("exactly_once", "at_least_once")
ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1)}


def value(number: int, padding: int = 0) -> bytes:
    """A record that is scored, with so many bytes that do not compress."""
    pad = base64.b64encode(os.urandom(padding * 3 // 4))
    return b'{"x": [%d], "pad": "%s"}' % (number, pad)


def dead_letter_of(job: Job, delivery: str, *, guilty: int = 1) -> tuple[KafkaRecord, Mapping[str, bytes | None]]:
    """Runs the job to the end, checks that each record is answered, and gives the first guilty one's dead letter."""
    summary = job.run("--until_end", f"--delivery={delivery}").summary
    report = job.report()
    assert report.ok if delivery == "exactly_once" else not report.missing, report
    assert (summary["records"], sum(summary["dead_letters_by_class"].values())) == (RECORDS, guilty)
    letters = [record for record in job.dead_letters() if topics.source_of(record) == (job.inputs[0], 0, GUILTY)]
    assert len(letters) == 1, "the guilty one is written once, also at least once"
    return letters[0], dict(letters[0].headers)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_timestamp_that_no_topic_takes(new_job: NewJob, stub: TfServingGrpcStub, delivery: str) -> None:
    """A day ahead, and one in microseconds: Kafka 4 takes an hour. The dead-letter topic does not take it either."""
    job = new_job(stub.uri(), config=ANY_TIME)
    now_ms = int(time.time() * 1000)
    far = {GUILTY: now_ms + DAY_MS, GUILTY + 1: now_ms * 1000}
    topics.produce(
        job.bootstrap, job.inputs[0], map(value, range(RECORDS)), timestamps_ms=[far.get(i, now_ms) for i in range(RECORDS)]
    )
    letter, headers = dead_letter_of(job, delivery, guilty=2)
    assert (headers["inference.error.stage"], headers["inference.error.class"]) == (b"write", b"TimestampRefused")
    assert headers["inference.timestamp_ms"] == b"%d" % far[GUILTY]
    assert abs((letter.timestamp_ms or 0) - time.time() * 1000) < DAY_MS / 2


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_null_key_where_both_topics_are_compacted(new_job: NewJob, stub: TfServingGrpcStub, delivery: str) -> None:
    """A dead letter gets a key of its own, and a header says that the record had none."""
    job = new_job(stub.uri())
    for topic in (job.output, f"{job.output}.dead-letter"):
        topics.configure(job.bootstrap, topic, {"cleanup.policy": "compact"})
    keys = [None if number == GUILTY else b"k%d" % number for number in range(RECORDS)]
    topics.produce(job.bootstrap, job.inputs[0], map(value, range(RECORDS)), keys=keys)
    letter, headers = dead_letter_of(job, delivery)
    assert headers["inference.error.class"] == b"KeyRequired"
    assert (letter.key, headers["inference.original.key"]) == (f"{job.inputs[0]}/0/{GUILTY}".encode(), None)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_dead_letter_that_fits_only_without_the_headers(new_job: NewJob, stub: TfServingGrpcStub, delivery: str) -> None:
    """The record has as many bytes as the topics take. Its dead letter keeps its class, and says how long the value was."""
    job = new_job(stub.uri())
    topics.configure(job.bootstrap, f"{job.output}.dead-letter", {"max.message.bytes": "60000"})
    long = b"{" + base64.b64encode(os.urandom(44_900))
    topics.produce(job.bootstrap, job.inputs[0], [long if i == GUILTY else value(i) for i in range(RECORDS)])
    letter, headers = dead_letter_of(job, delivery)
    assert headers["inference.error.class"] == b"JsonError"
    assert headers["inference.original.value_bytes"] == b"%d" % len(long)
    assert letter.value is not None
    assert long.startswith(letter.value)
    assert len(long) - len(letter.value) < 1_000, "no more is cut than has to be"


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_prediction_that_fits_only_without_key_and_headers(
    new_job: NewJob, stub: TfServingGrpcStub, delivery: str
) -> None:
    job = new_job(stub.uri(), flags=["--output_mode=merge"])
    topics.configure(job.bootstrap, job.output, {"max.message.bytes": "60000"})
    values = [value(i, 59_800 if i == GUILTY else 0) for i in range(RECORDS)]
    topics.produce(job.bootstrap, job.inputs[0], values, keys=[b"k" * 300] * RECORDS)
    letter, headers = dead_letter_of(job, delivery)
    assert headers["inference.error.class"] == b"WriteTooLarge"
    assert (letter.value, letter.key) == (values[GUILTY], b"k" * 300)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_header_name_that_is_not_utf8(new_job: NewJob, stub: TfServingGrpcStub, delivery: str) -> None:
    job = new_job(stub.uri())
    job.produce(range(GUILTY))
    raw_produce.produce(job.bootstrap, job.inputs[0], [(value(GUILTY), 7)], headers=[(b"ok", b"1"), (b"caf\xe9", b"2")])
    job.produce(range(GUILTY + 1, RECORDS))
    letter, headers = dead_letter_of(job, delivery)
    assert (headers["inference.error.stage"], headers["inference.error.class"]) == (b"decode", b"HeaderError")
    assert (headers["inference.original.headers"], letter.timestamp_ms) == (b"?", 7)
    assert "ok" not in headers


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_batch_that_is_larger_than_the_topic_takes(new_job: NewJob, stub: TfServingGrpcStub, delivery: str) -> None:
    """No record is too large, so none is a dead letter: batches are made by the limit of the topic."""
    job = new_job(stub.uri(), flags=["--output_mode=merge"])
    topics.configure(job.bootstrap, job.output, {"max.message.bytes": "262144"})
    topics.produce(job.bootstrap, job.inputs[0], (value(number, 2_500) for number in range(2_000)))
    process = job.run("--until_end", f"--delivery={delivery}")
    assert job.report().ok, "with none written twice: the limit was read before the first batch"
    assert (process.summary["predictions"], process.summary["dead_letters"]) == (2_000, 0)


def test_a_dead_letter_that_can_never_be_written_is_named(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A topic that takes no timestamp of now either: the job ends, and says which record, which topic and what to change."""
    job = new_job(stub.uri())
    topics.configure(job.bootstrap, f"{job.output}.dead-letter", {"message.timestamp.before.max.ms": "1"})
    topics.produce(job.bootstrap, job.inputs[0], [b"{" if i == GUILTY else value(i) for i in range(RECORDS)])
    process = job.start("--until_end")
    assert process.wait() == 1, process
    [line] = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    for words in (
        f"--dead_letter_topic={job.output}.dead-letter",
        f"{job.inputs[0]}/0/{GUILTY}",
        "message.timestamp.before.max.ms",
    ):
        assert words in line
