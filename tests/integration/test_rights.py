"""A broker with an authorizer: the rights that the documents name are enough; each missing one is named with its cure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from pipeline.cli.beam_values import beam_value
from pipeline.runners.prism import with_prism
from tests.integration.process import Job, Scoring, job_factory
from tests.integration.secured import Secured
from tests.kafka_broker import KafkaBroker
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

GRANTS = ("input", "output", "dead letters", "group", "transactional id")


@pytest.fixture(scope="module")
def guarded(secured: Secured) -> KafkaBroker:
    return secured.broker


@pytest.fixture
def job(guarded: KafkaBroker, stub: TfServingGrpcStub) -> Iterator[Job]:
    """Ten records for a user who has no right yet."""
    with job_factory(guarded.bootstrap) as new_job:
        job = new_job(
            stub.uri(),
            flags=(
                f"--bootstrap_servers={guarded.sasl_bootstrap}",
                "--kafka_config=security.protocol=SASL_PLAINTEXT",
                "--kafka_config=sasl.mechanism=PLAIN",
                f"--kafka_config=sasl.username={guarded.user}",
                "--kafka_config=sasl.password=${TEST_PASSWORD}",
                "--instance_id=one",
            ),
        )
        job.produce(range(10))
        yield job


def grant(broker: KafkaBroker, job: Job, names: set[str]) -> None:
    """Gives the user these rights and no others. None of these is away for a moment, which a job that runs would see."""
    resources = {
        "input": (ResourceType.TOPIC, job.inputs[0], AclOperation.READ),
        "output": (ResourceType.TOPIC, job.output, AclOperation.WRITE),
        "dead letters": (ResourceType.TOPIC, f"{job.output}.dead-letter", AclOperation.WRITE),
        "group": (ResourceType.GROUP, job.group, AclOperation.READ),
        "transactional id": (ResourceType.TRANSACTIONAL_ID, f"{job.group}-one", AclOperation.WRITE),
    }
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    wanted = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{broker.user}", "*", operation, AclPermissionType.ALLOW)
        for kind, name, operation in (resources[it] for it in names)
    ]
    for future in admin.create_acls(wanted).values():
        future.result(30)
    surplus = [
        AclBindingFilter(
            it.restype, it.name, it.resource_pattern_type, it.principal, it.host, it.operation, it.permission_type
        )
        for it in admin.describe_acls(everything).result(30)
        if it not in wanted
    ]
    for future in admin.delete_acls(surplus).values() if surplus else ():
        future.result(30)


def test_these_rights_are_enough(guarded: KafkaBroker, job: Job) -> None:
    grant(guarded, job, set(GRANTS))
    process = job.start("--until_end", environ={"TEST_PASSWORD": guarded.password})
    assert process.done().summary["records"] == 10


@pytest.mark.parametrize(
    ("missing", "said", "status"),
    [
        ("input", "--operation Read --topic in-", 2),
        ("output", "--operation Write --topic out-", 2),
        ("dead letters", "--operation Write --topic out-", 2),
        ("group", "--operation Read --group group-", 2),
        ("transactional id", "--operation Write --transactional-id group-", 2),  # the producer finds out
    ],
)
def test_a_missing_right_is_named_with_its_cure(
    guarded: KafkaBroker, job: Job, missing: str, said: str, status: int
) -> None:
    grant(guarded, job, set(GRANTS) - {missing})
    process = job.start("--until_end", environ={"TEST_PASSWORD": guarded.password})
    assert process.wait() == status, process
    assert "_TIMED_OUT" not in process.stderr, process
    assert "waiting for" not in process.stderr, process
    assert said in process.stderr, process
    assert "Traceback" not in process.stderr, process
    assert job.committed() == {}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("input", "--operation Read --topic in-"),
        ("output", "--operation Write --topic out-"),
        ("dead letters", "--operation Write --topic out-"),
        ("group", "--operation Read --group group-"),
    ],
)
def test_a_missing_right_is_named_before_java_starts(guarded: KafkaBroker, job: Job, missing: str, said: str) -> None:
    """Beam's Java pair needs the same rights, but for the one to a transactional id: it writes without transactions."""
    grant(guarded, job, set(GRANTS) - {missing})
    with_java = dataclasses.replace(job, flags=tuple(flag for flag in job.flags if not flag.startswith("--instance_id")))
    process = with_java.start("--runner=PrismRunner", "--kafka_io=beam", environ={"TEST_PASSWORD": guarded.password})
    assert process.wait() == 2, process
    assert said in process.stderr
    assert f"--add --allow-principal User:{guarded.user}" in process.stderr
    assert "Java" not in process.stdout + process.stderr


@pytest.mark.usefixtures("prism")
def test_workers_elsewhere_need_the_right_to_transactions_and_it_is_asked_for_here(guarded: KafkaBroker, job: Job) -> None:
    """Before the group is moved or anything is sent to the runner: in its workers, nobody would see it."""
    grant(guarded, job, set(GRANTS) - {"transactional id"})
    with with_prism((), print) as options:
        process = job.start(
            "--runner=PortableRunner",
            f"--job_endpoint={beam_value(options, 'job_endpoint')}",
            "--environment_type=EXTERNAL",
            "--environment_config=127.0.0.1:1",
            "--start_from=earliest",
            environ={"TEST_PASSWORD": guarded.password},
        )
        assert process.wait() == 2, process
    assert f"--operation Write --transactional-id {job.group}- --resource-pattern-type prefixed" in process.stderr
    assert "Traceback" not in process.stderr, process
    assert job.committed() == {}


def test_a_right_to_see_is_not_one_to_read(guarded: KafkaBroker, job: Job) -> None:
    """DESCRIBE alone shows the topic: the missing READ was found only after the start."""
    grant(guarded, job, set(GRANTS) - {"input"})
    admin = AdminClient({"bootstrap.servers": guarded.bootstrap})
    see = AclBinding(
        ResourceType.TOPIC, job.inputs[0], ResourcePatternType.LITERAL, f"User:{guarded.user}", "*",
        AclOperation.DESCRIBE, AclPermissionType.ALLOW,
    )  # fmt: skip
    admin.create_acls([see])[see].result(30)
    process = job.start("--until_end", environ={"TEST_PASSWORD": guarded.password})
    assert process.wait() == 2, process
    assert "this user has no right to Read" in process.stderr, process
    assert f"--allow-principal User:{guarded.user} --operation Read --topic {job.inputs[0]}" in process.stderr, process


@pytest.mark.parametrize("taken", ["output", "transactional id", "input", "group"])
def test_a_right_that_is_taken_away_is_waited_for(
    guarded: KafkaBroker, job: Job, stub: TfServingGrpcStub, taken: str
) -> None:
    right = {
        "output": f"Write --topic {job.output}",
        "transactional id": f"Write --transactional-id {job.group}-one",
        "input": f"Read --topic {job.inputs[0]}",
        "group": f"Read --group {job.group}",
    }[taken]

    def one_that_waits() -> Scoring:
        grant(guarded, job, set(GRANTS))
        stub.faults.hold_after(0)
        process = job.start("--status=plain", "--retry_deadline_s=3600", environ={"TEST_PASSWORD": guarded.password})
        job.wait_for_held(stub, process)
        grant(guarded, job, set(GRANTS) - {taken})
        stub.faults.release()
        process.wait_for_output("WAITING for Kafka: ")
        process.wait_for_output(f"--operation {right} grants it")
        return process

    first = one_that_waits()
    first.terminate()
    first.done()  # long before the deadline of an hour
    assert first.summary["unanswered"] == 10, first

    second = one_that_waits()
    grant(guarded, job, set(GRANTS))
    job.wait_for_commit(10, second)
    second.terminate()
    second.done()
    assert job.report().ok, job.report()
