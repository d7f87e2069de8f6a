"""Kafka or the model server goes away in mid-stream and comes back: nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator

import confluent_kafka as ck
import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import SMALL_BUNDLES, START_S, Job, Scoring, job_factory, wait_until
from tests.kafka_broker import KafkaBroker
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub


@pytest.fixture
def new_job_there(own_kafka: KafkaBroker) -> Iterator[NewJob]:
    """Makes jobs on the broker that may be killed."""
    with job_factory(own_kafka.bootstrap) as factory:
        yield factory


@pytest.fixture
def stubs() -> Iterator[list[TfServingGrpcStub]]:
    """Three model servers: what one job is answered is not the other's business."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(TfServingGrpcStub()) for _ in range(3)]


def commit_more(job: Job, process: Scoring, records: int) -> None:
    """Waits until the process has committed so many more, and sees that it does not run out of records meanwhile."""
    before = sum(job.committed().values())

    def there() -> bool:
        job.keep_busy()
        return sum(job.committed().values()) >= before + records

    wait_until(there, f"{records} more committed", START_S, process)


def test_broker(new_job_there: NewJob, own_kafka: KafkaBroker, stubs: list[TfServingGrpcStub]) -> None:
    """The broker is killed, and later shut down, in mid-stream: all jobs wait for it, and go on exactly once.

    Each time the jobs are in the middle of a bundle, whose model server answers on when the broker is away.
    """
    flags = ("--max_in_flight=4", *SMALL_BUNDLES)
    kinds = ((), ("--assignment=static",), ("--delivery=at_least_once",))
    jobs = [new_job_there(stub.uri(), partitions=2, flags=(*flags, *kind)) for stub, kind in zip(stubs, kinds, strict=True)]
    group, static, at_least_once = jobs
    for job, stub in zip(jobs, stubs, strict=True):
        job.keep_busy()
        stub.faults.latency_s = 0.05
        stub.faults.hold_after(2000)
    processes = [job.start() for job in jobs]
    for job, process, stub in zip(jobs, processes, stubs, strict=True):
        job.wait_for_commit(500, process, stub=stub)
        job.keep_busy()  # that may have been all there was, in one bundle: nothing would be held any more
        job.wait_for_held(stub, process)
    own_kafka.kill()
    for stub in stubs:
        stub.faults.release()
    time.sleep(2)
    own_kafka.start()
    for job, process in zip(jobs, processes, strict=True):
        commit_more(job, process, 500)
    own_kafka.restart()
    for job, process, stub in zip(jobs, processes, stubs, strict=True):
        stub.faults.clear()
        job.wait_for_commit(job.produced, process)
        process.terminate()
    for process in processes:
        process.done()
    assert group.report().ok, group.report()
    assert static.report().ok, static.report()
    assert not at_least_once.report().missing, at_least_once.report()


def test_model_server_hold(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A hold longer than max.poll.interval.ms and than the transaction's time-out, in the middle of a bundle.

    The group keeps its member and its partitions; what was answered before the outage is not stuck in an open transaction.
    """
    stub.faults.hold_after(1500)
    job = new_job(stub.uri(), partitions=2)
    job.produce(range(20_000))
    process = job.start(
        "--until_end",
        "--max_in_flight=4",
        "--retry_deadline_s=2",
        "--kafka_config=max.poll.interval.ms=6000",
        "--kafka_config=session.timeout.ms=6000",
        "--kafka_config=transaction.timeout.ms=4000",
    )
    job.wait_for_held(stub, process)
    before = job.shares()
    assert list(before.values()) == [2]
    stub.down()
    stub.faults.release()
    process.wait_for_output("WAITING for the model server")
    time.sleep(10)
    assert process.running, process
    assert job.shares() == before
    stub.up()
    process.done()
    wait_until(lambda: job.shares() == {}, "group without members", START_S)
    assert job.report().ok, job.report()
    assert process.summary["records"] == process.summary["predictions"] == 20_000
    assert "rebalanced" not in process.stdout


def test_the_end_while_the_model_server_is_down(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """It is said long before the deadline, also by a job that has nothing to do; SIGTERM does not wait for the server."""
    flags = ("--max_in_flight=4", "--retry_deadline_s=3600")
    idle, busy = new_job(stub.uri(), flags=flags), new_job(stub.uri(), flags=flags)
    processes = [idle.start(), busy.start()]
    for job, process in zip((idle, busy), processes, strict=True):
        job.produce(range(100))
        job.wait_for_commit(100, process)
    stub.down()
    processes[0].wait_for_output("WAITING for the model server", 60)
    busy.produce(range(100, 200))
    processes[1].wait_for_output("WAITING for the model server", 60)
    for process in processes:
        process.terminate()
    for process, unanswered in zip(processes, (0, 100), strict=True):
        process.done(60)  # 5 s on a machine of one's own
        assert process.summary["unanswered"] == unanswered
    assert "100 records that were read: the model server was down" in processes[1].stdout
    stub.up()
    assert busy.run("--until_end").summary["records"] == 100
    for job in (idle, busy):
        assert job.report().ok, job.report()


def test_model_server_policies(new_job: NewJob, stubs: list[TfServingGrpcStub]) -> None:
    """Server down past the deadline: dead_letter writes on, fail ends with 1 and commits nothing of the bundle."""
    flags = ("--max_in_flight=2", "--retry_deadline_s=1", *SMALL_BUNDLES)
    its, other = stubs[:2]
    dead_letter = new_job(its.uri(), flags=(*flags, "--on_unavailable=dead_letter"))
    fail = new_job(other.uri(), flags=(*flags, "--on_unavailable=fail"))
    for job in (dead_letter, fail):
        job.produce(range(1000))
    writing, failing = dead_letter.start("--max_records=12000"), fail.start("--max_records=12000")
    for job, process, stub in ((dead_letter, writing, its), (fail, failing, other)):
        job.wait_for_commit(1000, process)  # a first bundle may be larger than what a stub answers until it holds
        stub.faults.hold_after(500)
        job.produce(range(1000, 12_000))
        job.wait_for_held(stub, process)
    for stub in (its, other):
        stub.down()
        stub.faults.release()
    assert failing.wait() == 1
    assert "error: the model server is down" in failing.stderr
    assert "Traceback" not in failing.stderr
    wait_until(lambda: bool(dead_letter.dead_letters()), "dead letters", START_S, writing)
    for stub in (its, other):
        stub.up()
    summary = writing.done().summary
    assert dead_letter.report().ok, dead_letter.report()
    assert summary["dead_letters_by_class"] == {"Unavailable": summary["dead_letters"]}
    assert summary["predictions"] >= 300
    headers = dict(dead_letter.dead_letters()[0].headers)
    assert headers["inference.error.stage"] == b"predict"
    assert int(headers["inference.error.attempts"] or b"0") > 1
    answered = failing.summary["records"]
    assert 300 <= answered < 12_000
    assert fail.run("--until_end").summary["records"] == 12_000 - answered
    assert fail.report().ok, fail.report()


def test_suspended_process(new_job: NewJob, stubs: list[TfServingGrpcStub]) -> None:
    """A process that sleeps (SIGSTOP, a suspended machine) past its transaction's and its membership's time-out goes on.

    Kafka has aborted the transaction and fenced the producer meanwhile, in the same words as if somebody had taken over.
    """
    times = ("--kafka_config=transaction.timeout.ms=2000", "--kafka_config=session.timeout.ms=2000")
    jobs = [
        new_job(stub.uri(), partitions=2, flags=("--max_in_flight=4", f"--assignment={kind}", *times, *SMALL_BUNDLES))
        for stub, kind in zip(stubs, ("group", "static"), strict=False)
    ]
    for job, stub in zip(jobs, stubs, strict=False):
        job.produce(range(20_000))
        stub.faults.hold_after(1000)
    processes = [job.start("--until_end") for job in jobs]
    for job, process, stub in zip(jobs, processes, stubs, strict=False):
        stop_in_a_transaction(job, stub, process)
    for job in jobs:
        topics.wait_for_open_transactions(job.bootstrap, job.output)  # which Kafka aborts
    wait_until(lambda: jobs[0].shares() == {}, "group without members", START_S)
    for process, stub in zip(processes, stubs, strict=False):
        stub.faults.release()
        os.kill(process.pid, signal.SIGCONT)
    for job, process in zip(jobs, processes, strict=True):
        process.done()
        assert job.report().ok, job.report()
        assert "starting a new producer" in process.stderr
        assert "fenced" not in process.stderr, "librdkafka says so, and nobody has taken over"


def stop_in_a_transaction(job: Job, stub: TfServingGrpcStub, process: Scoring) -> None:
    """Suspends a process whose stub holds its requests, when it has written outputs that are not committed."""
    job.wait_for_commit(300, process, stub=stub)
    job.hold_in_a_transaction(stub, process)
    os.kill(process.pid, signal.SIGSTOP)


def test_retention_while_running(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Records are deleted before they are read: never skipped without a word, but exit 1, with the cure."""
    job = new_job(stub.uri(), flags=SMALL_BUNDLES)
    job.produce(range(60_000))
    stub.faults.answer_next(None, "hang")
    process = job.start("--until_end")
    stub.faults.wait_for(lambda faults: faults.in_flight > 0, START_S)
    topics.delete_records(job.bootstrap, job.inputs[0], {0: 50_000})
    stub.down()  # what hangs is cut off, and sent again
    stub.faults.clear()
    stub.up()
    assert process.wait() == 1
    said = re.search(r"retention has deleted ([\d,]+) records .*\(committed (\d+), earliest 50000\)", process.stderr)
    assert said is not None, process
    deleted, committed = (int(number.replace(",", "")) for number in said.groups())
    assert deleted == 50_000 - committed
    assert "--start_from=committed_or_earliest --start_from_again" in process.stderr
    assert "Traceback" not in process.stderr


def test_same_instance_id(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A second process of the same --instance_id takes over; the first is fenced, says so and ends with 1."""
    stub.faults.latency_s = 0.1
    job = new_job(stub.uri(), partitions=2, flags=("--instance_id=replica-7", "--max_in_flight=4", *SMALL_BUNDLES))
    job.keep_busy()
    first = job.start()
    job.wait_for_progress(300, first)
    second = job.start()

    def ended() -> bool:
        job.keep_busy()
        return not first.running

    wait_until(ended, "end of the first", START_S)
    assert first.wait() == 1
    stub.faults.latency_s = 0
    assert "error: fenced" in first.stderr
    assert "replica-7" in first.stderr
    assert "Traceback" not in first.stderr
    job.wait_for_commit(job.produced, second)
    second.terminate()
    second.done()
    assert job.report().ok, job.report()
    assert first.summary["records"] + second.summary["records"] == job.produced


def test_fenced_by_nobody_in_the_group(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Kafka fences a producer after a broker's death, too (librdkafka 3928): the job asks the group, and goes on."""
    job = new_job(stub.uri(), flags=("--instance_id=replica-9", "--max_in_flight=4", *SMALL_BUNDLES))
    job.keep_busy()
    process = job.start()
    job.wait_for_commit(300, process, stub=stub)
    transactional_id = f"{job.group}-replica-9"
    ck.Producer({"bootstrap.servers": job.bootstrap, "transactional.id": transactional_id}).init_transactions(30)

    def told() -> bool:
        job.keep_busy()  # it learns of it when it writes
        return "starting a new producer" in process.stdout + process.stderr

    wait_until(told, "new producer", START_S, process)
    commit_more(job, process, 500)
    job.wait_for_commit(job.produced, process)
    process.terminate()
    process.done()
    assert job.report().ok, job.report()


def test_suspended_process_that_was_replaced(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """A process that was thought dead (suspended) and started again elsewhere under its name is fenced when it wakes up."""
    times = ("--kafka_config=transaction.timeout.ms=2000", "--kafka_config=session.timeout.ms=6000")
    flags = ("--instance_id=replica-8", "--max_in_flight=4", *times, *SMALL_BUNDLES)
    job = new_job(stub.uri(), partitions=2, flags=flags)
    job.produce(range(30_000))
    stub.faults.hold_after(1000)
    first = job.start("--until_end")
    stop_in_a_transaction(job, stub, first)
    stub.faults.release()
    second = job.start("--until_end")
    job.wait_for_commit(sum(job.committed().values()) + 300, second)
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 1
    assert "error: fenced" in first.stderr
    second.done()
    assert job.report().ok, job.report()
