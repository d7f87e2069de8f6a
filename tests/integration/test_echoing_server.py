"""A model server that repeats whole requests in its error texts: they reach neither logs nor others' dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from pipeline.embedded.broker import EmbeddedBroker
from tests import topics
from tests.integration.process import Job
from transforms.headers import ERROR_MESSAGE
from transforms.predict.echoes import LEFT_OUT
from transforms.testing.faults import StubError
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.open_inference.http_stub import OipHttpStub
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.types import TensorSpec

STUBS = [TfServingGrpcStub, TfServingRestStub, OipGrpcStub, OipHttpStub]
SECRET = 7_351_000
"""Records are the whole numbers from here on: no other text has their digits."""
GUILTY = (SECRET + 13, SECRET + 40)


def echoing(code: str, only_guilty: bool) -> StubModel:
    """y = x, but the text of an error is the request, as Python and as JSON have it."""

    def answer(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        x = inputs["x"]
        if not only_guilty or np.isin(x, GUILTY).any():
            raise StubError(code, f"can't handle {{'x': {x.tolist()}}} {x!r}")
        return {"y": x}

    spec = TensorSpec("float32", (-1, 1))
    return StubModel.of({"x": spec}, {"y": spec}, answer)


@pytest.fixture
def job() -> Iterator[Job]:
    with EmbeddedBroker({"in": 1, "out": 1, "out.dead-letter": 1}) as broker:
        job = Job(broker.address, ("in",), "out", "group", ("--status=plain",))
        job.produce(range(SECRET, SECRET + 64))
        yield job
        for process in job.started:
            print(process)  # shown by pytest if the test fails
            process.close()


def messages(job: Job) -> list[str]:
    records = topics.read_all(job.bootstrap, "out.dead-letter")
    return [(value or b"").decode() for record in records for name, value in record.headers if name == ERROR_MESSAGE]


def clean(text: str) -> bool:
    return str(SECRET)[:4] not in text


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL"])
@pytest.mark.parametrize("kind", STUBS)
def test_dead_letters_have_nothing_of_their_neighbours(job: Job, kind: type[StubServer], code: str) -> None:
    with kind(echoing(code, only_guilty=True)) as stub:
        process = job.run(f"--model={stub.uri()}", "--max_records=64", "--retry_deadline_s=2")
    assert (process.summary["predictions"], process.summary["dead_letters"]) == (62, 2)
    assert all(clean(message) and LEFT_OUT in message for message in messages(job))
    assert clean(process.stdout + process.stderr)


@pytest.mark.parametrize("kind", STUBS)
def test_a_batch_that_gets_no_answer_repeats_nothing(job: Job, kind: type[StubServer]) -> None:
    """All rows of a request have its error then."""
    with kind(echoing("UNAVAILABLE", only_guilty=False)) as stub:
        process = job.run(
            f"--model={stub.uri()}", "--max_records=64", "--retry_deadline_s=0.5", "--on_unavailable=dead_letter"
        )
    assert process.summary["dead_letters"] == 64
    assert all(map(clean, messages(job)))
    assert clean(process.stdout + process.stderr)


@pytest.mark.parametrize("kind", STUBS)
@pytest.mark.parametrize("flags", [(), ("--on_unavailable=fail",)])
def test_neither_status_nor_log_repeats_a_request_while_the_job_holds_or_when_it_fails(
    job: Job, kind: type[StubServer], flags: tuple[str, ...]
) -> None:
    with kind(echoing("UNAVAILABLE", only_guilty=False)) as stub:
        process = job.start(f"--model={stub.uri()}", "--max_records=64", "--retry_deadline_s=0.5", *flags)
        process.wait_for_output(LEFT_OUT)
        process.terminate()
        assert process.wait() == (1 if flags else 0)
    assert clean(process.stdout + process.stderr)
