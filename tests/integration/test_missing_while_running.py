"""A topic or a right that is taken away while a job runs: it waits, names the cure, and goes on by itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

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


def numbers(job: Job) -> list[float]:
    """What was scored: the model is y = 0.5 * x + 2."""
    return sorted((json.loads(record.value or b"")["y"][0] - 2) * 2 for record in job.predictions())


@pytest.mark.parametrize(("delivery", "count"), [("exactly_once", 2), ("at_least_once", 1)])
def test_an_input_topic_that_is_deleted_and_made_again_is_read_from_its_start(
    new_job: Callable[..., Job], stub: TfServingGrpcStub, delivery: str, count: int
) -> None:
    """By one process, and by two of a group: each record of the new topic once, though they have read further before."""
    job = new_job(stub.uri(), partitions=4, flags=(f"--delivery={delivery}", "--status=plain"))
    job.produce(range(300))
    processes = [job.start() for _ in range(count)]
    job.wait_for_commit(300, processes[0])
    topics.delete_topic(job.bootstrap, job.inputs[0])
    for process in processes:
        process.wait_for_output(f"WAITING for Kafka: the input topic {job.inputs[0]} does not exist any more; make it again")
    topics.create_topic(job.bootstrap, job.inputs[0], 4)
    job.produce(range(1000, 1500))
    job.wait_for_commit(500, processes[0])
    for process in processes:
        process.terminate()
    for process in processes:
        process.done()
    assert numbers(job) == [*range(300), *range(1000, 1500)]
    assert job.dead_letters() == []


def test_an_input_topic_that_is_made_again_between_two_runs_is_read_from_its_start(
    new_job: Callable[..., Job], stub: TfServingGrpcStub
) -> None:
    """Kafka deletes the group's offsets with the topic, but a commit that comes late brings them back."""
    job = new_job(stub.uri())
    job.produce(range(300))
    job.run("--until_end")
    consumer = Consumer({"bootstrap.servers": job.bootstrap, "group.id": job.group})
    try:
        former = consumer.committed([TopicPartition(job.inputs[0], 0)], 30)
        topics.delete_topic(job.bootstrap, job.inputs[0])
        topics.create_topic(job.bootstrap, job.inputs[0], 1)
        consumer.commit(offsets=former, asynchronous=False)
    finally:
        consumer.close()
    job.produce(range(1000, 1500))
    process = job.run("--until_end")
    assert f"the input topic {job.inputs[0]} was deleted and made again, and is read from its start" in process.stderr
    assert f"of the former one group {job.group} had read up to 300 records" in process.stderr
    assert numbers(job) == [*range(300), *range(1000, 1500)]
    assert "made again" not in job.run("--until_end").stderr
    assert len(job.predictions()) == 800
