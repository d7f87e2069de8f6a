"""A topic or a right that is taken away while a job runs: it waits, names the cure, and goes on by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import topics
from tests.integration.process import Job
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

DELIVERIES = ("exactly_once", "at_least_once")


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_an_output_topic_that_is_deleted_is_waited_for(
    new_job: Callable[..., Job], stub: TfServingGrpcStub, delivery: str
) -> None:
    job = new_job(stub.uri(), partitions=2, flags=(f"--delivery={delivery}", "--status=plain"))
    stub.faults.hold_after(0)  # nothing is written before the topic is deleted, so that nothing is lost with it
    job.produce(range(300))
    process = job.start()
    job.wait_for_held(stub, process)
    topics.delete_topic(job.bootstrap, job.output)
    stub.faults.release()
    said = f"the output topic {job.output} does not exist any more; make it again: kafka-topics.sh"
    process.wait_for_output(f"WAITING for Kafka: {said}")
    assert job.committed() in ({}, {0: 0, 1: 0})
    topics.create_topic(job.bootstrap, job.output, 3)
    job.wait_for_commit(300, process)
    job.produce(range(10))
    job.wait_for_commit(310, process)
    process.terminate()
    process.done()
    report = job.report()
    assert report.ok or (delivery == "at_least_once" and not report.missing), report
