"""Kafka → a server without metadata → Kafka, by the signature that the check has guessed from the topic's records."""

from __future__ import annotations

import json
from pathlib import Path

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.test_check import check
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

ROWS, POISON, WRONG = 200, 77, 78


def test_a_server_without_metadata(new_job: NewJob, tmp_path: Path) -> None:
    """A row that the server refuses is a dead letter, as beside a published signature; so is one that does not fit."""
    file = tmp_path / "signature.json"
    with TfServingGrpcStub() as stub:
        stub.describes = False
        stub.faults.poison = lambda row: bool(row["x"][0] == POISON)
        job = new_job(stub.uri())
        values = [json.dumps({"x": [n, 0.5] if n != WRONG else [n]}).encode() for n in range(ROWS)]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=[b"%d" % n for n in range(ROWS)])
        checked = check(job, f"--guess_signature={file}", "--sample=50")
        assert checked.returncode == 0, checked.stderr
        job.run(f"--signature={file}", "--until_end")
        assert job.report().ok, job.report()
        letters = {record.key: dict(record.headers)["inference.error.class"] for record in job.dead_letters()}
        assert letters == {b"%d" % POISON: b"Rejected", b"%d" % WRONG: b"FieldError"}
        for record in job.predictions():
            assert json.loads(record.value or b"") == {"y": [0.5 * int(record.key or b"") + 2, 2.25]}
