"""``kill -9`` in mid-stream, ten times over 100,000 records: nothing is lost, and with exactly_once nothing is doubled."""

from __future__ import annotations

import concurrent.futures
import json
import random
import time
from collections.abc import Iterator

import pytest

from tests import topics
from tests.integration.process import SMALL_BUNDLES, START_S, Job, Scoring, job_factory, wait_until
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import KafkaRecord

RECORDS = 100_000
KILLS = 10
PARTITIONS = 3
BATCH = 16
POISON = {b"not JSON": "JsonError", None: "Tombstone", b'{"x": ["text"]}': "FieldError"}
EVERY = 997
"""One record in so many is poison."""

LIFE_ROWS = 9_000
"""Rows answered between two kills at most, so that no process, however fast, comes to the end before its kill."""


@pytest.fixture(scope="module")
def survivors(kafka: str) -> Iterator[dict[str, Job]]:
    """One job for each guarantee, killed side by side, which spares a minute of start-ups."""
    with job_factory(kafka) as new_job, TfServingGrpcStub() as first, TfServingGrpcStub() as second:
        # Several rounds of requests a bundle, and no linger: most kills find outputs that are written and not committed.
        early = ("--max_in_flight=6", f"--batch_max_size={BATCH}", "--kafka_config=linger.ms=0")
        flags = (*early, "--status=off", *SMALL_BUNDLES)
        stubs = {"exactly_once": first, "at_least_once": second}
        jobs = {
            delivery: new_job(stub.uri(), PARTITIONS, flags=(*flags, f"--delivery={delivery}"))
            for delivery, stub in stubs.items()
        }
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(_survive, jobs.values(), stubs.values()))
        yield jobs


def _survive(job: Job, stub: TfServingGrpcStub) -> None:
    """Scores everything although the process is killed ``KILLS`` times, each time after some more progress.

    Most kills come at any moment. Before the last two, the model server stops answering when outputs are written that are
    not committed.
    """
    stub.faults.latency_s = 0.01
    rng = random.Random(job.group)
    poison = list(POISON)
    values = (poison[i // EVERY % len(poison)] if i % EVERY == 5 else b'{"x": [%d]}' % i for i in range(RECORDS))
    topics.produce(job.bootstrap, job.inputs[0], values, partitions=(i % PARTITIONS for i in range(RECORDS)))
    for life in range(KILLS):
        before, ahead = job.end_of_output(), _ahead(job)
        stub.faults.hold_after(LIFE_ROWS)
        process = job.start("--until_end")
        job.wait_for_progress(rng.randrange(300, 6000), process, since=before)
        if life < KILLS - 2:
            time.sleep(rng.uniform(0, 0.3))
        elif "--delivery=exactly_once" in job.flags:
            job.hold_in_a_transaction(stub, process)
        else:
            _hold_before_a_commit(job, stub, process, ahead)
        assert process.running, f"it ended before it was killed\n{process}"
        process.kill()
    assert sum(job.committed().values()) < RECORDS, "the kills were to hit in mid-stream"
    stub.faults.release()
    job.run("--until_end")


def _ahead(job: Job) -> int:
    """How many outputs there are, beyond the offsets committed: those written twice, or not committed yet."""
    return job.written() - sum(job.committed().values())


def _hold_before_a_commit(job: Job, stub: TfServingGrpcStub, process: Scoring, before: int) -> None:
    """The same without transactions: more outputs are ahead than when this process was started."""

    def caught() -> bool:
        stub.faults.hold_after(50)
        job.wait_for_held(stub, process)
        time.sleep(0.1)
        return _ahead(job) > before + BATCH

    wait_until(caught, "outputs that are not committed", START_S, process)


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
    # Kills hit in the middle of transactions: what those had written is in the topic, and nobody sees it.
    written = topics.read_all(job.bootstrap, job.output, "read_uncommitted")
    assert len(written) > len(predictions)


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
