"""``--wait_for_start_s``: the job starts before Kafka, the model server or the schema registry is there."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator

import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job, Scoring, job_factory
from tests.kafka_broker import KafkaBroker
from transforms.testing.schema_registry_stub import SchemaRegistryStub
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub

LATER_S = 5.0
"""How much later than the job the others come."""


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """A broker that is not there yet when the job starts."""
    with KafkaBroker() as broker:
        yield broker


def started_early(job: Job, come: Callable[[], None], whom: str, *flags: str) -> Scoring:
    """Starts a job, lets ``whom`` come 5 s after it is said that they are waited for, and waits for the job's good end."""
    process = job.start("--until_end", *flags)
    process.wait_for_output(f"waiting for {whom}, for up to")
    time.sleep(LATER_S)
    come()
    process.done()
    assert f"{whom} is there after" in process.stderr
    assert "Traceback" not in process.stderr
    return process


def test_kafka_comes_later(broker: KafkaBroker, stub: TfServingGrpcStub) -> None:
    with job_factory(broker.bootstrap) as new_job:
        job = new_job(stub.uri(), partitions=2)
        job.produce(range(100))
        broker.stop()
        process = started_early(job, broker.start, "Kafka")
        assert process.summary["records"] == 100
        assert job.report().ok, job.report()


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_the_model_server_comes_later_and_then_its_model(new_job: NewJob, kind: str) -> None:
    """First nobody listens; then somebody does, but the model is still loading."""
    with TfServingGrpcStub() if kind == "grpc" else TfServingRestStub() as stub:
        job = new_job(stub.uri())
        job.produce(range(100))
        there = dict(stub.model.versions)
        stub.model.versions = dict.fromkeys(there, "LOADING")
        stub.down()

        def come() -> None:
            stub.up()
            time.sleep(LATER_S)
            stub.model.versions = there

        process = started_early(job, come, "the model server")
        assert process.summary["predictions"] == 100


@pytest.mark.skipif(importlib.util.find_spec("authlib") is None, reason="needs confluent-kafka[schemaregistry]")
def test_the_schema_registry_comes_later(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    with SchemaRegistryStub() as registry:
        job = new_job(stub.uri())
        registry.down()
        flags = ("--input_format=avro", f"--schema_registry={registry.url}")
        started_early(job, registry.up, "the schema registry", *flags)


def test_who_does_not_come_in_time_ends_the_start_with_1(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Not with 2, after which a service manager would not start it again. All that are missing are named."""
    job = new_job(stub.uri())
    stub.down()
    with TfServingGrpcStub() as gone:
        nowhere = gone.address
    process = job.start(f"--bootstrap_servers={nowhere}", "--wait_for_start_s=6")
    assert process.wait() == 1
    said = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    assert len(said) == 2
    assert "the model server can't be reached" in said[0]
    assert f"--bootstrap_servers={nowhere}: no broker answers" in said[1]
    assert "Traceback" not in process.stderr


def test_what_no_waiting_cures_is_not_waited_for(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A topic that does not exist: exit 2 within the hour, and that the model server is not there is said, too."""
    job = new_job(stub.uri())
    stub.down()
    process = job.start("--output_topic=nosuch", "--wait_for_start_s=3600")
    assert process.wait() == 2
    assert "error: --output_topic=nosuch: the topic does not exist" in process.stderr
    assert "the model server can't be reached" in process.stderr


@pytest.mark.parametrize("how", [Scoring.interrupt, Scoring.terminate])
def test_a_signal_ends_the_wait(new_job: NewJob, stub: TfServingGrpcStub, how: Callable[[Scoring], None]) -> None:
    """With 0, and long before the hour is over: nothing was read."""
    job = new_job(stub.uri())
    job.produce(range(10))
    stub.down()
    process = job.start("--wait_for_start_s=3600")
    process.wait_for_output("waiting for the model server")
    how(process)
    process.done()
    assert "stopped before anything was read" in process.stderr
    assert "Traceback" not in process.stderr
    assert job.committed() == {}
    assert topics.read_all(job.bootstrap, job.output, "read_uncommitted") == []
