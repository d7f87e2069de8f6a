"""Kafka → OpenAI-compatible servers → Kafka: the stub for counts, LitServe for real."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job
from tests.servers.litserve import EMBEDDINGS, litserve
from transforms.testing.openai.stub import OpenAiStub

RECORDS, BATCH = 1600, 64


def letters(job: Job) -> dict[bytes | None, str]:
    return {record.key: (dict(record.headers)["inference.error.class"] or b"").decode() for record in job.dead_letters()}


def test_embeddings_are_asked_for_in_full_batches(new_job: NewJob) -> None:
    """A request for each 64 records, beside the probes; nothing else goes to the server."""
    with OpenAiStub() as stub:
        job = new_job(stub.uri(), flags=("--features=$.text", "--max_in_flight=4", "--pass_through=id"))
        values = [json.dumps({"id": n, "text": "e" * (n % 50 + 1)}).encode() for n in range(RECORDS)]
        topics.produce(job.bootstrap, job.inputs[0], values, partitions=[0] * RECORDS)
        summary = job.run("--until_end").summary
        sizes = stub.faults.batch_sizes
    assert job.report().ok, job.report()
    assert summary["predictions"] == RECORDS == sum(sizes)
    assert len(sizes) == math.ceil(RECORDS / BATCH)
    for record in job.predictions():
        value: Any = json.loads(record.value or b"")
        count = value["id"] % 50 + 1
        assert value["embedding"] == [count, count, 0, 0, 0, 0, 0, 0]
        assert dict(record.headers)["inference.version"] == b"model-1"


def test_real_embeddings(new_job: NewJob) -> None:
    """Texts as they are, with some that are refused; the most texts of a request are learnt."""
    values: list[bytes | None] = [b"sea %d" % n for n in range(300)]
    values[7], values[50], values[51], values[299] = b"poison", b"\xff\xfe", None, b"poison too"
    with litserve(EMBEDDINGS) as address:
        job = new_job(f"openai+http://{address}/letters?task=embeddings", flags=("--max_in_flight=4",))
        keys = [b"%d" % n for n in range(len(values))]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=keys, partitions=[0] * len(values))
        job.run("--until_end")
    assert job.report().ok, job.report()
    assert letters(job) == {b"7": "Rejected", b"50": "Rejected", b"51": "Tombstone", b"299": "Rejected"}
    assert all(json.loads(record.value or b"")["embedding"][1:4] == [1, 1, 0] for record in job.predictions())
    for record in job.dead_letters():
        message = dict(record.headers)["inference.error.message"] or b""
        assert b"poison" not in message
        assert base64.b64encode(b"\xff\xfe") not in message
