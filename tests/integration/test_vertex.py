"""Kafka → Vertex AI → Kafka, over both transports. No account is available: the endpoint is the local stub."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests import topics
from tests.integration.conftest import NewJob
from transforms.testing.stub_model import StubModel
from transforms.testing.vertex.grpc_stub import VertexGrpcStub
from transforms.testing.vertex.rest_stub import VertexRestStub
from transforms.testing.vertex.stub import VertexStub

COUNT, POISON, INEXACT = 300, 50, 60
LARGE = range(70, 78)


def value_of(index: int) -> bytes:
    """Eight neighbours are 600 kB each, so that their batch passes the limit of 1.5 MB though none of them does."""
    x: Any = "bad" if index == POISON else 2**53 + 1 if index == INEXACT else index
    return json.dumps({"x": x, "pad": "p" * 600_000 if index in LARGE else ""}).encode()


def halved(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"y": [instance["x"] / 2 for instance in inputs["instances"]]}


@pytest.mark.parametrize("protocol", [VertexGrpcStub, VertexRestStub])
def test_records(new_job: NewJob, protocol: type[VertexStub]) -> None:
    with protocol(StubModel.of({}, {}, halved)) as stub:
        stub.model.flip(7)
        stub.faults.poison = lambda row: row["instances"]["x"] == "bad"
        job = new_job(stub.uri(), partitions=1)
        topics.produce(job.bootstrap, job.inputs[0], [value_of(index) for index in range(COUNT)])
        stub.faults.fail_next(3, "RESOURCE_EXHAUSTED", "Quota exceeded", retry_after_s=0.05)
        summary = job.run("--until_end").summary
    assert job.report().ok, job.report()
    assert summary["dead_letters_by_class"] == {"Rejected": 2}
    assert summary["retries"] > 0
    predictions = job.predictions()
    assert len(predictions) == COUNT - 2
    for record in predictions:
        headers = dict(record.headers)
        index = int((headers["inference.source"] or b"").rpartition(b"/")[2])
        assert json.loads(record.value or b"") == {"predictions": index / 2}
        assert (headers["inference.model"], headers["inference.version"]) == (b"model", b"7")
        assert headers["inference.deployed_model"] == stub.deployed_model.encode()
    told = sorted((dict(record.headers)["inference.error.message"] or b"").decode() for record in job.dead_letters())
    assert "injected fault: a row of the batch is poison" in told[0]
    assert "instance[0].x is an integer beyond 2**53" in told[1]
