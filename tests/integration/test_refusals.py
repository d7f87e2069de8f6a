"""What does not fit together is said before anything is consumed: exit status 2, the flag at fault, and the cure."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import confluent_kafka as ck
import confluent_kafka.admin
import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import START_S, Job, Scoring, wait_until
from tests.kafka_broker import KafkaBroker
from transforms.errors import ContractError
from transforms.kafka.admin.checks import Checker
from transforms.kafka.config import KafkaConfig
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub


@pytest.fixture(scope="module")
def grpc_stub() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub() as stub:
        yield stub


@pytest.fixture(scope="module")
def rest_stub() -> Iterator[TfServingRestStub]:
    with TfServingRestStub() as stub:
        yield stub


def refused(process: Scoring, *said: str) -> None:
    """Checks that a process ends with 2, by itself, with these words in one ``error:`` line and no trace."""
    assert process.wait() == 2, process
    lines = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, process
    for words in said:
        assert words in lines[0], process
    assert "Traceback" not in process.stderr, process


def check_untouched(job: Job) -> None:
    """Checks that nothing was consumed."""
    assert job.committed() == {}
    assert topics.read_all(job.bootstrap, job.output, "read_uncommitted") == []


def test_model(new_job: NewJob, grpc_stub: TfServingGrpcStub, rest_stub: TfServingRestStub) -> None:
    """A model server that is not there; an unknown model, version, label or signature; over both protocols."""
    with TfServingGrpcStub() as gone:
        nowhere = gone.address
    job = new_job(grpc_stub.uri())
    job.produce(range(10))
    said = {
        f"grpc://{nowhere}/model": "can't be reached",
        f"http://{nowhere}/v1/models/model": "can't be reached",
        grpc_stub.uri(model="other"): "other",
        rest_stub.uri(model="other"): "other",
        grpc_stub.uri(version=9): "9",
        rest_stub.uri(version=9): "9",
        grpc_stub.uri(label="canary"): "canary",
        grpc_stub.uri(signature="nosuch"): "serving_default",  # the message lists those there are
        rest_stub.uri(signature="nosuch"): "serving_default",
    }
    models = list(said)
    for start in range(0, len(models), 3):  # a few at a time: each keeps a core busy for a second
        processes = [job.start(f"--model={model}", "--wait_for_start_s=0") for model in models[start : start + 3]]
        for process, model in zip(processes, models[start : start + 3], strict=True):
            refused(process, f"--model={model}", said[model])
    check_untouched(job)


def test_topics(new_job: NewJob, grpc_stub: TfServingGrpcStub) -> None:
    """A topic that does not exist, with the nearest name; every mistake at once."""
    job = new_job(grpc_stub.uri())
    job.produce(range(10))
    close = job.inputs[0][:-1] + "00"
    unknown = job.start(f"--input_topic={close}")
    both = job.start(f"--input_topic={uuid4().hex}", f"--output_topic={job.output}x")
    refused(unknown, f"--input_topic={close}", "does not exist", f"did you mean '{job.inputs[0]}'")
    assert both.wait() == 2, both
    assert "--input_topic" in both.stderr
    assert f"did you mean '{job.output}'" in both.stderr
    check_untouched(job)


def test_create_topics(new_job: NewJob, grpc_stub: TfServingGrpcStub) -> None:
    """The output topic is made as the input is; without the flag, the way to make it is said, and no topic of the job's."""
    job = new_job(grpc_stub.uri(), partitions=3)
    job.produce(range(10))
    output = f"made-{uuid4().hex}"
    refused(job.start(f"--output_topic={output}"), f"--output_topic={output}: the topic does not exist", "--create_topics")
    made = job.run(f"--output_topic={output}", "--create_topics", "--until_end")
    assert f"made the output topic {output}" in made.stdout
    assert f"made the dead-letter topic {output}.dead-letter" in made.stdout
    assert len(topics.read_all(job.bootstrap, output)) == 10
    found = ck.admin.AdminClient({"bootstrap.servers": job.bootstrap}).list_topics(timeout=30).topics
    assert [len(found[topic].partitions) for topic in (output, f"{output}.dead-letter")] == [3, 3]


def test_no_broker(new_job: NewJob, grpc_stub: TfServingGrpcStub) -> None:
    """Nobody listens at --bootstrap_servers, and no wait is wanted: said at once."""
    job = new_job(grpc_stub.uri())
    with TfServingGrpcStub() as gone:
        nowhere = gone.address
    process = job.start(f"--bootstrap_servers={nowhere}", "--wait_for_start_s=0")
    refused(process, f"--bootstrap_servers={nowhere}", "no broker answers")


def test_credentials(new_job: NewJob, grpc_stub: TfServingGrpcStub, own_kafka: KafkaBroker) -> None:
    """Wrong credentials are named as such, and not shown; right ones work, by environment variable."""
    job = new_job(grpc_stub.uri())
    job.bootstrap = own_kafka.bootstrap
    topics.create_topic(job.bootstrap, job.inputs[0])
    topics.create_topic(job.bootstrap, job.output)
    job.produce(range(10))
    sasl = [
        f"--bootstrap_servers={own_kafka.sasl_bootstrap}",
        "--kafka_config=security.protocol=SASL_PLAINTEXT",
        "--kafka_config=sasl.mechanism=PLAIN",
        f"--kafka_config=sasl.username={own_kafka.user}",
        "--kafka_config=sasl.password=${TEST_PASSWORD}",
    ]
    wrong = job.start(*sasl, environ={"TEST_PASSWORD": "wrong-secret"})
    right = job.start("--until_end", *sasl, environ={"TEST_PASSWORD": own_kafka.password})
    refused(wrong, "refused our credentials", "sasl.password")
    assert "wrong-secret" not in wrong.stdout + wrong.stderr
    assert right.done().summary["records"] == 10
    # The dead-letter topic was missing, and is made with the same credentials.
    assert job.dead_letters() == []


@pytest.mark.parametrize(("delivery", "count"), [("exactly_once", 1), ("exactly_once", 2), ("at_least_once", 2)])
def test_retention_before_the_first_commit(new_job: NewJob, stub: TfServingGrpcStub, delivery: str, count: int) -> None:
    """The model server is down from the first bundle on; what retention deletes meanwhile is missed after a kill."""
    job = new_job(stub.uri(), partitions=2, flags=(f"--delivery={delivery}",))
    job.produce(range(2_000))
    stub.faults.hold_after(0)
    processes = [job.start(f"--instance_id={number}") for number in range(count)]
    wait_until(lambda: job.committed() == {0: 0, 1: 0}, "the first offsets", START_S, processes[0])
    job.wait_for_held(stub, processes[0])
    for process in processes:
        process.kill()
    topics.delete_records(job.bootstrap, job.inputs[0], {0: 950, 1: 850})
    stub.faults.clear()
    again = job.start("--until_end")
    refused(
        again,
        f"retention has deleted 1,800 records that group '{job.group}' had not answered",
        "--start_from=committed_or_earliest",
    )
    assert job.predictions() == []
    assert job.run("--until_end", "--start_from=committed_or_earliest").summary["records"] == 200


def test_retention(new_job: NewJob, grpc_stub: TfServingGrpcStub) -> None:
    """Retention ran past a committed offset: said, with how many records are lost; what it names goes on, none twice."""
    job = new_job(grpc_stub.uri(), partitions=2)
    job.produce(range(20))
    answered = job.run("--until_end").summary["records"]
    job.produce(range(20, 60))
    before = job.committed()
    gone = {0: before[0] + 5}  # of the other partition all is there, what is answered, too
    topics.delete_records(job.bootstrap, job.inputs[0], gone)
    # Once deleted for good, the offset that the group has committed is below the earliest.
    cure = "--start_from=committed_or_earliest"
    refused(job.start("--until_end"), "retention has deleted 5 records", f"{cure} --start_from_again", job.group)
    assert job.committed() == before
    done = job.run("--until_end", cure, "--start_from_again")
    assert f"{cure}: no record will be read again or skipped" in done.stdout
    assert answered + done.summary["records"] == 60 - 5 == len(job.predictions())
    sources = [dict(prediction.headers)[topics.SOURCE_HEADER] for prediction in job.predictions()]
    assert len(set(sources)) == len(sources), "none twice"


def test_the_default_group_of_another_topic(kafka: str) -> None:
    """Asked of a real Kafka: a group that it does not know must not end the process (librdkafka 5040)."""
    group, ours, other = f"default-{uuid4().hex}", f"ours-{uuid4().hex}", f"other-{uuid4().hex}"
    for topic in (ours, other):
        topics.create_topic(kafka, topic)
    checker = Checker(KafkaConfig(kafka, (ours,), group))
    try:
        checker.check_group(group)
        former = ck.Consumer({"bootstrap.servers": kafka, "group.id": group})
        former.commit(offsets=[ck.TopicPartition(other, 0, 3)], asynchronous=False)
        former.close()
        with pytest.raises(ContractError, match=f"has read {other} and none of this job's topics"):
            checker.check_group(group)
    finally:
        checker.close()
