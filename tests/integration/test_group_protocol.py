"""Kafka's newer protocol of consumer groups (KIP-848, ``group.protocol=consumer``), and jobs that meet in one group."""

from __future__ import annotations

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import SMALL_BUNDLES, START_S, Job, wait_until
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

BROKER_ASSIGNS = "--kafka_config=group.protocol=consumer"


def members(job: Job) -> tuple[str, list[int]]:
    """The type of the job's group, and how many partitions each member has."""
    kind, shares = topics.members(job.bootstrap, job.group)
    return kind, sorted(shares.values())


def test_partitions_are_shared_and_a_dead_members_share_moves_on(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Two processes have two partitions each; one is killed; --start_from waits until a dead member's session has timed out.

    The second one is killed when nothing is answered any more, so that it leaves records behind, however fast it is.
    """
    job = new_job(stub.uri(), partitions=4, flags=(BROKER_ASSIGNS, "--max_in_flight=4", *SMALL_BUNDLES))
    stub.faults.latency_s = 0.05
    job.keep_busy()
    first, second = job.start(), job.start()

    def shared() -> bool:
        job.keep_busy()
        return members(job) == ("CONSUMER", [2, 2])

    wait_until(shared, "two members with two partitions each", START_S, first)
    stub.faults.hold_after(0)
    job.produce(range(job.produced, job.produced + 2_000))
    job.wait_for_held(stub, second)
    second.kill()
    stub.faults.latency_s = 0
    stub.faults.release()
    job.wait_for_commit(job.produced, first)
    wait_until(lambda: members(job) == ("CONSUMER", [4]), "all partitions with the first", START_S, first)
    refused = job.start("--start_from=earliest", "--allow_shared_group")
    refused.wait_for_output("has members; waiting up to 92 s")
    first.kill()  # not in order: its session has to time out
    refused.wait_for_output(f"group {job.group}: --start_from=earliest:")
    refused.kill()
    report = job.report()
    assert not report.missing, report
    assert not report.unexpected, report


def test_a_commit_that_meets_a_rebalance_is_read_again(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A second process joins in the middle of a bundle of the first: what it has read is committed once, by either."""
    job = new_job(stub.uri(), partitions=4, flags=(BROKER_ASSIGNS, "--max_in_flight=4", *SMALL_BUNDLES))
    job.produce(range(20_000))
    stub.faults.hold_after(1000)
    first = job.start()
    job.wait_for_commit(300, first, stub=stub)
    job.hold_in_a_transaction(stub, first)
    second = job.start()
    wait_until(lambda: len(members(job)[1]) == 2, "a second member", START_S, second)
    stub.faults.release()
    job.wait_for_commit(20_000, first)
    for process in (first, second):
        process.terminate()
        process.done()
    assert job.report().ok, job.report()


def test_a_job_with_other_topics_is_refused_in_the_same_group(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """It is named with its topics; a replica is not refused, and with --allow_shared_group nobody is.

    Nor does a replica of the newer protocol meet one of the classic protocol.
    """
    job, other = new_job(stub.uri(), topics_in=2), new_job(stub.uri())
    other.group = job.group
    job.produce(range(10))
    running = job.start("--instance_id=orders-0")
    job.wait_for_commit(10, running)
    refused, newer = other.start("--until_end"), job.start("--until_end", BROKER_ASSIGNS, "--wait_for_start_s=0")
    assert refused.wait() == 2, refused
    said = f"--group_id={job.group}: is used by a job with other topics: member {job.group}-orders-0 at 127.0.0.1 reads "
    assert f"error: {said}{', '.join(job.inputs)}. " in refused.stderr
    assert "--allow_shared_group" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert newer.wait() == 2, newer
    assert f"member {job.group}-orders-0 at 127.0.0.1. Stop them all first" in newer.stderr, newer
    assert topics.committed_offsets(other.bootstrap, other.group, other.inputs[0]) == {}
    job.run("--until_end", f"--input_topic={job.inputs[1]}", f"--input_topic={job.inputs[0]}")
    other.produce(range(5))
    assert other.run("--until_end", "--allow_shared_group").summary["records"] == 5
    running.terminate()
    running.done()
