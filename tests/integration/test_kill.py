"""``kill -9`` in mid-stream, ten times over 100,000 records: nothing is lost, and with exactly_once nothing is doubled."""

from __future__ import annotations

import concurrent.futures
import json
import random
import time
from collections.abc import Iterator

import pytest

from tests import topics
from tests.integration.process import SMALL_BUNDLES, Job, job_factory
from transforms.testing.tfserving_grpc_stub import TfServingGrpcStub
from transforms.types import KafkaRecord

RECORDS = 100_000
KILLS = 10
PARTITIONS = 3
POISON = {b"not JSON": "JsonError", None: "Tombstone", b'{"x": ["text"]}': "FieldError"}
EVERY = 997
"""One record in so many is poison."""


@pytest.fixture(scope="module")
def survivors(kafka: str) -> Iterator[dict[str, Job]]:
    """One job for each guarantee, killed side by side, which spares a minute of start-ups."""
    with job_factory(kafka) as new_job, TfServingGrpcStub() as stub:
        stub.faults.latency_s = 0.01
        # Several rounds of requests a bundle, and no linger: most kills find outputs that are written and not committed.
        early = ("--max_in_flight=6", "--batch_max_size=16", "--kafka_config=linger.ms=0")
        flags = (*early, "--status=off", *SMALL_BUNDLES)
        jobs = {
            delivery: new_job(stub.uri(), PARTITIONS, flags=(*flags, f"--delivery={delivery}"))
            for delivery in ("exactly_once", "at_least_once")
        }
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(_survive, jobs.values()))
        yield jobs


def _survive(job: Job) -> None:
    """Scores everything although the process is killed ``KILLS`` times, each time after some more progress."""
    rng = random.Random(job.group)
    poison = list(POISON)
    values = (poison[i // EVERY % len(poison)] if i % EVERY == 5 else b'{"x": [%d]}' % i for i in range(RECORDS))
    topics.produce(job.bootstrap, job.inputs[0], values, partitions=(i % PARTITIONS for i in range(RECORDS)))
    for _ in range(KILLS):
        before = job.end_of_output()
        process = job.start("--until_end")
        job.wait_for_progress(rng.randrange(300, 6000), process, since=before)
        time.sleep(rng.uniform(0, 0.3))
        assert process.running, f"it ended before it was killed\n{process}"
        process.kill()
        assert job.end_of_output() < RECORDS * 0.95, "the kill was to hit in mid-stream"
    job.run("--until_end", timeout_s=120)


def _inputs(job: Job) -> dict[tuple[str, int], range]:
    """Every offset there is."""
    ends = topics.end_offsets(job.bootstrap, job.inputs[0])
    return {(job.inputs[0], partition): range(end) for partition, end in ends.items()}


def _wrong(predictions: list[KafkaRecord]) -> list[KafkaRecord]:
    """Those whose value is not that of the record they name, which is in its partition where ``_survive`` put it."""
    wrong = []
    for record in predictions:
        _, partition, offset = topics.source_of(record) or ("", 0, -1)
        x = offset * PARTITIONS + partition
        if json.loads(record.value or b"") != {"y": [0.5 * x + 2]}:
            wrong.append(record)
    return wrong


@pytest.mark.timeout(240)
def test_exactly_once(survivors: dict[str, Job]) -> None:
    """Every input offset has one outcome, the right one, in the order of its partition."""
    job = survivors["exactly_once"]
    predictions, dead_letters = job.predictions(), job.dead_letters()
    report = topics.check_exactly_once(_inputs(job), predictions, dead_letters)
    assert report.ok, report
    assert report.expected == RECORDS
    assert not _wrong(predictions)
    dead = [dict(record.headers)["inference.error.class"] for record in dead_letters]
    assert len(dead) == len(range(5, RECORDS, EVERY))
    assert {name.decode() for name in dead if name} == set(POISON.values())
    # The kills hit in the middle of transactions: what those had written is in the topic, and nobody sees it.
    written = topics.read_all(job.bootstrap, job.output, "read_uncommitted")
    assert len(written) > len(predictions) + 100


@pytest.mark.timeout(240)
def test_at_least_once(survivors: dict[str, Job]) -> None:
    """No input offset is without its outcome; some have two, for the kills hit between an output and its commit."""
    job = survivors["at_least_once"]
    predictions = job.predictions()
    report = topics.check_exactly_once(_inputs(job), predictions, job.dead_letters())
    assert not report.missing, report
    assert not report.unexpected, report
    assert not report.without_source, report
    assert report.duplicated, "the kills were to hit between writing and committing"
    assert not _wrong(predictions)
