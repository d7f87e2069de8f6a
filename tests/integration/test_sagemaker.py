"""Kafka → Amazon SageMaker → Kafka. No account is available: the endpoint is the local stub, which checks each signature by
botocore's own signer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job
from transforms.testing.json_http.app import REQUEST, RESPONSE
from transforms.testing.sagemaker.stub import STUB_CREDENTIALS, SageMakerStub
from transforms.testing.stub_model import StubModel
from transforms.types import TensorSpec

COUNT, POISON, NO_JSON, TOMBSTONE = 300, 50, 60, 61
LARGE = range(70, 80)
PAD_BYTES = 900_000
"""Ten neighbours of that size are above SageMaker's 6 MB, and none of them is."""


def value_of(index: int) -> bytes | None:
    if index == TOMBSTONE:
        return None
    pad = "p" * PAD_BYTES if index in LARGE else ""
    return b"{" if index == NO_JSON else json.dumps({"x": -1.0 if index == POISON else index, "pad": pad}).encode()


def with_credentials(job: Job, folder: Path, secret: str = STUB_CREDENTIALS.secret_key) -> Job:
    """The job's processes have these credentials of AWS, and nothing of this machine's."""
    job.environ |= {
        "AWS_ACCESS_KEY_ID": STUB_CREDENTIALS.access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
    }
    return job


def halves() -> StubModel:
    inputs = {"x": TensorSpec("float32", (-1,)), "pad": TensorSpec("string", (-1,))}
    return StubModel.of(inputs, {}, lambda rows: {"y": rows["x"] / 2})


def test_records(new_job: NewJob, tmp_path: Path) -> None:
    """Throttled at first, poison in the middle, and batches above the limit: each record is answered once."""
    template = tmp_path / "request.json"
    template.write_text(REQUEST)
    with SageMakerStub(halves()) as stub:
        stub.variant = "AllTraffic"
        stub.faults.poison = lambda row: row["x"] == -1
        flags = (f"--request={template}", f"--response={RESPONSE}")
        job = with_credentials(new_job(stub.uri(), flags=flags), tmp_path)
        values = [value_of(index) for index in range(COUNT)]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=[b"%d" % index for index in range(COUNT)])
        stub.faults.fail_next(
            40, "RESOURCE_EXHAUSTED", "Rate exceeded", retry_after_s=0.05
        )  # more than halving would outlast
        summary = job.run("--until_end").summary
        signed = stub.signatures
    assert job.report().ok, job.report()
    assert summary["retries"] > 0
    assert signed >= 3
    dead = {int(record.key or b""): dict(record.headers)["inference.error.class"] for record in job.dead_letters()}
    assert dead == {POISON: b"Rejected", NO_JSON: b"JsonError", TOMBSTONE: b"Tombstone"}
    predictions = job.predictions()
    assert len(predictions) == COUNT - len(dead)
    for record in predictions:
        value: Any = json.loads(record.value or b"")
        assert value == {"y": int(record.key or b"") / 2}
        assert dict(record.headers)["inference.version"] == b"AllTraffic"


def test_a_wrong_secret_ends_the_start(new_job: NewJob, tmp_path: Path) -> None:
    """Before anything is read; neither the secret nor a signature is printed."""
    with SageMakerStub(halves()) as stub:
        job = with_credentials(new_job(stub.uri()), tmp_path, secret="another-secret")
        topics.produce(job.bootstrap, job.inputs[0], [b'{"x": 1}'])
        process = job.start("--until_end")
        assert process.wait() == 2, process
    assert "InvalidSignatureException" in process.stderr
    assert "check the region, the secret key and this machine's clock" in process.stderr
    assert "another-secret" not in str(process)
    assert "Signature=" not in str(process)
    assert job.committed() == {}
