"""Native and Beam's Java pair on Prism, against the real Kafka: the same output as on the DirectRunner for the same input.

Prism's binary and the Java pair's jars come into the cache folder before: by Go or from GitHub, and from Maven Central.
"""

from __future__ import annotations

import shutil
import time

import pytest

from tests import raw_produce, topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job
from tests.integration.same_records import DEAD, RECORDS, comparable, is_poison, produce
from tests.kafka_broker import KafkaBroker
from tests.listening import listening, open_to_others
from transforms.kafka.beam.java import EXPANSION_SERVICE
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

PRISM = "--runner=PrismRunner"
JAVA = "--kafka_io=beam"
pytestmark = [
    pytest.mark.usefixtures("prism", "java_jars"),
    pytest.mark.skipif(shutil.which("java") is None, reason="Beam's Java transforms need Java"),
]


def again(job: Job, name: str) -> Job:
    """A job on the same input, with a group and outputs of its own."""
    other = Job(job.bootstrap, job.inputs, f"{job.output}-{name}", f"{job.group}-{name}", job.flags)
    for topic in (other.output, f"{other.output}.dead-letter"):
        topics.create_topic(job.bootstrap, topic, 3)
    return other


def end(jobs: list[Job]) -> None:
    for job in jobs:
        for process in job.started:
            if process.running:
                process.kill()
            print(process)
            process.close()


def test_prism_writes_what_the_direct_runner_writes(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Keys (null, empty), tombstones, headers, timestamps, partitions, dead letters of every stage; both implementations."""
    stub.faults.poison = is_poison
    direct = new_job(stub.uri(), partitions=2, outputs=3)
    now_ms = time.time_ns() // 1_000_000  # retention may delete what is older, whenever it comes by
    produce(direct.bootstrap, direct.inputs[0], 2, now_ms)
    native, java = again(direct, "native"), again(direct, "java")
    try:
        direct.run("--until_end")
        native.start(PRISM, "--until_end").done()
        summary = java.start(PRISM, JAVA, "--until_end").done().summary
    finally:
        end([native, java])
    assert summary["dead_letters_by_class"] == {name: 2 * count for name, count in DEAD.items()}
    for job in (direct, native, java):
        report = job.report()
        assert (report.missing, report.duplicated, report.unexpected) == ([], [], []), report
        assert job is java or report.ok, report  # Prism runs bundles of Java's sink side by side: the order is not kept
        assert job.committed() == {0: len(RECORDS), 1: len(RECORDS)}
        for ours, theirs in ((job.predictions(), direct.predictions()), (job.dead_letters(), direct.dead_letters())):
            null = b"" if job is java else None  # the one difference: Java's sink knows no null header
            assert comparable(ours) == comparable(theirs, null)


def test_java_carries_0_and_says_what_it_can_not_carry(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Java's producer refuses negative timestamps, -1 for none among them: one such record would end the job."""
    job = new_job(stub.uri())
    for name in (*job.inputs, job.output):
        topics.set_config(job.bootstrap, name, {"retention.ms": "-1"})  # 1970 is past every other
    sent = [0, -1, -5, 7]
    raw_produce.produce(job.bootstrap, job.inputs[0], [(b'{"x": [1]}', at) for at in sent])
    job.start(PRISM, JAVA, "--until_end").done()
    found = {topics.source_of(record): record for record in job.predictions()}
    records = [found[job.inputs[0], 0, offset] for offset in range(len(sent))]
    told = [dict(record.headers).get("inference.timestamp_ms") for record in records]
    assert told == [None, b"-1", b"-5", None]
    first, none, negative, last = (record.timestamp_ms for record in records)
    assert (first, last) == (0, 7)
    assert none is not None
    assert negative is not None
    assert min(none, negative) > 1_700_000_000_000, "written now"


def test_java_misses_what_is_deleted_before_the_first_commit(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Nothing was answered yet when the job was killed, and retention came by."""
    job = new_job(stub.uri(), partitions=2)
    job.produce(range(200))
    stub.faults.hold_after(0)
    process = job.start(PRISM, JAVA)
    job.wait_for_held(stub, process)
    assert job.committed() == {0: 0, 1: 0}
    process.kill()
    topics.delete_records(job.bootstrap, job.inputs[0], {0: 90, 1: 80})
    stub.faults.clear()
    again = job.start(PRISM, JAVA, "--until_end")
    assert again.wait() == 2, again
    assert "retention has deleted 170 records" in again.stderr


def test_java_drains_commits_and_goes_on(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """SIGTERM finishes what is in flight; the next run begins where the offsets are, and ends at --max_records.

    Prism, Java and its worker listen on 127.0.0.1 only (seen on Linux, as in ``test_listening.py``).
    """
    job = new_job(stub.uri(), partitions=2, outputs=2)
    stub.faults.hold_after(500)
    job.produce(range(3_000))
    process = job.start(PRISM, JAVA, "--max_in_flight=2")
    job.wait_for_held(stub, process)
    listeners = " ".join(listening(process.pid).values())
    assert EXPANSION_SERVICE in listeners
    assert "--job_port" in listeners
    assert open_to_others(process.pid) == {}
    process.terminate()
    process.wait_for_output("draining")
    job.produce(range(3_000, 3_500))  # comes when the gate is closed
    stub.faults.release()
    process.done()
    answered = sum(job.committed().values())
    assert 3_500 > answered == len(job.predictions()) > 0
    job.start(PRISM, JAVA, f"--max_records={3_500 - answered}").done()
    report = job.report()
    assert (report.missing, report.duplicated, report.unexpected) == ([], [], []), report
    assert sum(job.committed().values()) == 3_500


@pytest.mark.parametrize("io", ["native", "beam"])
def test_a_killed_job_on_prism_loses_nothing(new_job: NewJob, stub: TfServingGrpcStub, io: str) -> None:
    """kill -9 of the launching process takes Prism and Java along; natively it is exactly once here, too.

    It comes when some bundles are committed and another one is under way, which the model server does not let end.
    """
    job = new_job(stub.uri(), partitions=2, outputs=2)
    job.produce(range(1_000))
    process = job.start(PRISM, f"--kafka_io={io}", "--max_in_flight=2")
    job.wait_for_commit(1_000, process)
    stub.faults.hold_after(500)
    job.produce(range(1_000, 4_000))
    job.wait_for_held(stub, process)
    process.kill()
    stub.faults.clear()
    assert 1_000 <= sum(job.committed().values()) < 4_000, "the kill came in the middle"
    job.start(PRISM, f"--kafka_io={io}", "--until_end").done()
    report = job.report()
    assert (report.missing, report.unexpected) == ([], []), report
    assert sum(job.committed().values()) == 4_000
    if io == "native":
        assert report.ok, report


def test_java_logs_in(own_kafka: KafkaBroker, stub: TfServingGrpcStub) -> None:
    """SASL by the properties that librdkafka takes, and transaction markers at the end of the input."""
    topics.create_topic(own_kafka.bootstrap, "sasl-in", 1)
    topics.create_topic(own_kafka.bootstrap, "sasl-out", 1)
    values = [b'{"x": [%d]}' % n for n in range(10)]
    topics.produce(own_kafka.bootstrap, "sasl-in", values, transaction="commit")
    topics.produce(own_kafka.bootstrap, "sasl-in", values, transaction="abort")
    login = ("security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", f"sasl.username={own_kafka.user}")
    flags = [f"--kafka_config={pair}" for pair in (*login, f"sasl.password={own_kafka.password}")]
    job = Job(own_kafka.sasl_bootstrap, ("sasl-in",), "sasl-out", "sasl", (f"--model={stub.uri()}",))
    try:
        summary = job.start(PRISM, JAVA, "--until_end", *flags).done().summary
    finally:
        end([job])
    assert summary["records"] == 10, "and it ended, although the last offset of the input is a marker"
    assert len(topics.read_all(own_kafka.bootstrap, "sasl-out")) == 10
