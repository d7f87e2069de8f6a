"""``--runner=DataflowRunner`` against servers that stand for Google's, and the pipeline that it staged, run on Prism.

Beam's own runner submits, Google's own clients upload; see ``tests/google_cloud.py``. Kafka asks for a password (SASL
PLAIN), which only the (stub of) Secret Manager has: the command and Java's worker each ask for it themselves, and Python's
worker for the token of the model server.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as proto

from tests import topics
from tests.dataflow import submitting
from tests.dataflow.payloads import functions
from tests.dataflow.staged import StagedJob, images, running_on_prism
from tests.dataflow.submitting import IMAGE, SUBMIT_S
from tests.google_cloud import BUCKET, PROJECT, REGION, GoogleCloud
from tests.integration.process import Job
from tests.integration.same_records import DEAD, RECORDS, comparable, is_poison, produce
from tests.kafka_broker import KafkaBroker
from transforms.kafka.beam.java import JAR
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import KafkaRecord

PASSWORD_NAME = f"projects/{PROJECT}/secrets/kafka-password/versions/3"
TOKEN_NAME = f"projects/{PROJECT}/secrets/model-token/versions/latest"
TOKEN = "Bearer 9f8e7d6c5b4a"
NAMES = Path(__file__).parents[1] / "dataflow"
JAVA = "--kafka_io=beam"


@dataclasses.dataclass
class Place:
    """Topics, a model and the stub of Google, for one module of tests."""

    cloud: GoogleCloud
    broker: KafkaBroker
    stub: TfServingGrpcStub
    topic: str

    def run(self, *flags: str, command: tuple[str, ...] = ("-m", "pipeline")) -> subprocess.CompletedProcess[str]:
        """Runs the command with the stub's Google around it."""
        return submitting.run(self.cloud, *flags, command=command)

    def flags(self, job_name: str, *more: str) -> list[str]:
        """A job's flags; every secret is a reference."""
        return [
            *self.cloud.flags(job_name),
            f"--sdk_container_image={IMAGE}",
            f"--bootstrap_servers={self.broker.sasl_bootstrap}",
            f"--input_topic={self.topic}",
            f"--output_topic={self.topic}.out",
            f"--group_id=group-{self.topic}",
            "--kafka_config=security.protocol=SASL_PLAINTEXT",
            "--kafka_config=sasl.mechanism=PLAIN",
            f"--kafka_config=sasl.username={self.broker.user}",
            f"--kafka_config=sasl.password=${{secret:{PASSWORD_NAME}}}",
            f"--model={self.stub.uri()}",
            f"--model_header=authorization=${{secret:{TOKEN_NAME}}}",
            *more,
        ]

    def job(self, name: str) -> dict[str, Any]:
        """The job of that name."""
        return submitting.job_named(self.cloud, name)


@pytest.fixture(scope="module")
def place(
    own_kafka: KafkaBroker, prism: Path, java_jars: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    topic = f"in-{uuid4().hex[:8]}"
    for name in (topic, f"{topic}.out", f"{topic}.out.dead-letter"):
        topics.create_topic(own_kafka.bootstrap, name, 2)
    secrets = {PASSWORD_NAME: own_kafka.password, TOKEN_NAME: TOKEN}
    with GoogleCloud(tmp_path_factory.mktemp("google"), secrets) as cloud, TfServingGrpcStub() as stub:
        yield Place(cloud, own_kafka, stub, topic)


@pytest.fixture(scope="module")
def native(place: Place) -> dict[str, Any]:
    """The job as it is without ``--kafka_io``: on a topic of its own, with four partitions."""
    topic = f"native-{uuid4().hex[:8]}"
    for name in (topic, f"{topic}.out", f"{topic}.out.dead-letter"):
        topics.create_topic(place.broker.bootstrap, name, 4)
    done = place.run(*(flag.replace(place.topic, topic) for flag in place.flags("native", "--max_num_workers=1")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"into {topic}.out, exactly once" in done.stdout
    assert "4 shards for 4 partitions" in done.stdout
    assert "Java" not in done.stdout + done.stderr
    return place.job("native") | {"topic": topic}


@pytest.fixture(scope="module")
def submitted(place: Place) -> dict[str, Any]:
    """The job by Beam's Java pair, as Dataflow was asked for it."""
    done = place.run(
        *place.flags(
            "scoring",
            JAVA,
            "--label=team=risk",
            "--max_num_workers=8",
            "--worker_machine_type=n2-standard-4",
            "--dataflow_service_options=worker_utilization_hint=0.7",
            "--service_account_email=scoring@demo-project.iam.gserviceaccount.com",
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    job = place.job("scoring")
    assert f"submitted scoring to Dataflow: job {job['id']}" in done.stdout
    assert f"pipeline.dataflow_job drain {job['id']} --project={PROJECT} --region={REGION}" in done.stdout
    return job


def staged(place: Place, job: dict[str, Any]) -> proto.Pipeline:
    """The pipeline that a job's options point to."""
    return submitting.staged(place.cloud, job)


def test_what_dataflow_is_asked_for(place: Place, submitted: dict[str, Any]) -> None:
    environment = submitted["environment"]
    [pool] = environment["workerPools"]
    assert submitted["type"] == "JOB_TYPE_STREAMING"
    assert submitted["labels"] == {"team": "risk"}
    assert {"use_runner_v2", "use_unified_worker", "enable_streaming_engine"} <= set(environment["experiments"])
    assert environment["serviceOptions"] == ["worker_utilization_hint=0.7"]
    assert environment["serviceAccountEmail"] == "scoring@demo-project.iam.gserviceaccount.com"
    assert environment["tempStoragePrefix"].startswith(f"storage.googleapis.com/{BUCKET}/temp")
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 8
    assert pool["machineType"] == "n2-standard-4"
    if place.cloud.as_google:
        assert pool["kind"] == "harness"
    containers = {image["containerImage"]: image for image in pool["sdkHarnessContainerImages"]}
    assert set(containers) == {IMAGE, "gcr.io/cloud-dataflow/v1beta3/beam_java17_sdk:2.73.0"}
    assert set(images(staged(place, submitted)).values()) == set(containers)
    options = environment["sdkPipelineOptions"]["options"]
    assert options["streaming"]
    assert not options["save_main_session"]


def test_everything_that_is_named_is_staged_whole(place: Place, submitted: dict[str, Any]) -> None:
    """Each artifact of each environment is an object in the bucket, with the hash that the pipeline gives."""
    named = {}
    for environment in staged(place, submitted).components.environments.values():
        for dependency in environment.dependencies:
            payload = proto.ArtifactUrlPayload.FromString(dependency.type_payload)
            named[payload.url] = payload.sha256
    assert len(named) > 50
    packages = {package["location"] for package in submitted["environment"]["workerPools"][0]["packages"]}
    for url, digest in named.items():
        assert url.replace("gs://", "storage.googleapis.com/") in packages
        content = place.cloud.objects[url]
        if digest:
            with content.open("rb") as file:
                assert hashlib.file_digest(file, "sha256").hexdigest() == digest, url
    ours = hashlib.sha256(JAR.read_bytes()).hexdigest()
    assert ours in named.values(), "the class that reads secrets has to be on Java's workers"


def test_no_secret_goes_anywhere(place: Place, submitted: dict[str, Any]) -> None:
    """Neither in the request, nor in a staged file, nor compressed in a function; the references are where they belong."""
    pipeline = staged(place, submitted)
    code = dict(functions(pipeline))
    texts = {"the request": json.dumps(submitted).encode(), "the pipeline": pipeline.SerializeToString(), **code}
    texts |= {url: file.read_bytes() for url, file in place.cloud.objects.items() if not url.endswith(".jar")}
    for name, text in texts.items():
        for secret in (place.broker.password, TOKEN, TOKEN.split()[1]):
            assert secret.encode() not in text, name
    assert TOKEN_NAME.encode() in code["Predict"]  # so a search in there finds what is there
    reader = [text for name, text in code.items() if name.endswith("KafkaIO.ReadSourceDescriptors/ParMultiDo(Unbounded)")]
    assert f"${{secret:jaas:{PASSWORD_NAME}}}".encode() in reader[0]
    assert f"${{secret:jaas:{PASSWORD_NAME}}}".encode() in code["Write/Java/KafkaIO.WriteRecords/ParMultiDo(KafkaWriter)"]


def test_the_names_of_the_transforms_stay(place: Place, submitted: dict[str, Any], native: dict[str, Any]) -> None:
    """``--update`` finds the state of a running job by them. If one has to change, give --transform_name_mapping, and say so
    in the changelog.
    """
    for file, job in (("transforms.txt", submitted), ("transforms_native.txt", native)):
        names = {transform.unique_name for transform in staged(place, job).components.transforms.values()}
        ours = sorted(name for name in names if name.count("/") <= 1 and not name.startswith("ref_"))
        assert ours == (NAMES / file).read_text().split()


def test_the_staged_pipeline_scores(place: Place, submitted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """On Prism, with the Java and the Python worker here, against the real Kafka: it writes what the DirectRunner does."""
    pipeline = staged(place, submitted)
    bootstrap, out = place.broker.bootstrap, f"{place.topic}.out"
    place.stub.faults.poison = is_poison
    topics.produce(bootstrap, place.topic, [b'{"x": [%d]}' % n for n in range(200)], keys=[b"%d" % n for n in range(200)])
    produce(bootstrap, place.topic, 2, time.time_ns() // 1_000_000)
    bad = 2 * sum(DEAD.values())
    good = 200 + 2 * len(RECORDS) - bad
    for variable, text in place.cloud.environ.items():
        monkeypatch.setenv(variable, text)
    asked = len(place.cloud.accessed)
    with running_on_prism(pipeline, IMAGE) as job:
        stop_at = time.monotonic() + SUBMIT_S
        while len(topics.read_all(bootstrap, out)) < good or len(_dead(place)) < bad:
            assert job.state == "RUNNING", job.messages()
            assert time.monotonic() < stop_at, job.messages()
            time.sleep(1)
    direct = Job(bootstrap, (place.topic,), f"{place.topic}.direct", f"direct-{place.topic}")
    for topic in (direct.output, f"{direct.output}.dead-letter"):
        topics.create_topic(bootstrap, topic, 2)
    accessed, last_headers = place.cloud.accessed[asked:], dict(place.stub.faults.last_headers)
    direct.run(f"--model={place.stub.uri()}", "--start_from=earliest", "--until_end").close()
    null = b""  # the one difference: Java's sink knows no null header
    assert comparable(topics.read_all(bootstrap, out)) == comparable(direct.predictions(), null)
    assert comparable(_dead(place)) == comparable(direct.dead_letters(), null)
    assert set(accessed) == {PASSWORD_NAME, TOKEN_NAME}  # by Java's and by Python's worker
    assert last_headers["authorization"] == TOKEN


def test_the_native_pipeline_scores(place: Place, native: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The default: shards that move, without Java; the staged graph on Prism, each record once."""
    topic, count = native["topic"], 400
    assert {image["containerImage"] for image in native["environment"]["workerPools"][0]["sdkHarnessContainerImages"]} == {
        IMAGE
    }
    pipeline = staged(place, native)
    for name, code in functions(pipeline):
        assert place.broker.password.encode() not in code, name
    topics.produce(
        place.broker.bootstrap, topic, [b'{"x": [%d]}' % n for n in range(count)], partitions=(n % 4 for n in range(count))
    )
    for variable, text in place.cloud.environ.items():
        monkeypatch.setenv(variable, text)
    with running_on_prism(pipeline, IMAGE, with_java=False) as running:
        found = outputs(place, topic, count, running)
    sources = sorted(topics.source_of(record) or () for record in found)
    assert sources == sorted((topic, number, offset) for number in range(4) for offset in range(count // 4))


def outputs(place: Place, topic: str, count: int, running: StagedJob) -> list[KafkaRecord]:
    """Waits until the topic's output has so many records, and returns all."""
    stop_at = time.monotonic() + SUBMIT_S
    while len(found := topics.read_all(place.broker.bootstrap, f"{topic}.out")) < count:
        assert running.state == "RUNNING", running.messages()
        assert time.monotonic() < stop_at, running.messages()
        time.sleep(0.2)
    return found


def test_a_native_job_goes_on_where_java_has_committed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way from the former default: the same group. What Java's source has committed is not read again.

    It commits every five minutes of the clock, when they are over: this waits for that.
    """
    bootstrap, topic, count = place.broker.bootstrap, f"moved-{uuid4().hex[:8]}", 200
    for name in (topic, f"{topic}.out", f"{topic}.out.dead-letter"):
        topics.create_topic(bootstrap, name, 2)
    place.stub.faults.clear()
    for variable, text in place.cloud.environ.items():
        monkeypatch.setenv(variable, text)

    def submit(name: str, *more: str) -> proto.Pipeline:
        done = place.run(*(flag.replace(place.topic, topic) for flag in place.flags(name, *more)))
        assert done.returncode == 0, done.stdout + done.stderr
        return staged(place, place.job(name))

    values = [b'{"x": [%d]}' % n for n in range(2 * count)]
    topics.produce(bootstrap, topic, values[:count], partitions=(n % 2 for n in range(count)))
    with running_on_prism(submit("by-java", JAVA), IMAGE) as running:
        first = outputs(place, topic, count, running)
        stop_at = time.monotonic() + SUBMIT_S
        while sum((left := topics.committed_offsets(bootstrap, f"group-{topic}", topic)).values()) < count:
            assert time.monotonic() < stop_at, (left, running.messages())
            time.sleep(0.2)
    topics.produce(bootstrap, topic, values[count:], partitions=(n % 2 for n in range(count)))
    with running_on_prism(submit("by-us"), IMAGE, with_java=False) as running:
        both = outputs(place, topic, len(first) + count, running)
    sources = sorted(topics.source_of(record) or () for record in both)
    assert sources == sorted((topic, number, offset) for number in range(2) for offset in range(count))


def _dead(place: Place) -> list[Any]:
    return topics.read_all(place.broker.bootstrap, f"{place.topic}.out.dead-letter")


def test_an_update_replaces_the_job_of_that_name_and_a_drain_ends_it(place: Place) -> None:
    first = place.run(*place.flags("updated"))
    assert first.returncode == 0, first.stderr
    old = place.job("updated")
    again = place.run(*place.flags("updated"))
    assert again.returncode == 1
    assert "already active job named updated" in again.stderr
    second = place.run(*place.flags("updated", "--update"))
    assert second.returncode == 0, second.stderr
    new = place.job("updated")
    assert new["replaceJobId"] == old["id"]
    assert old["currentState"] == "JOB_STATE_UPDATED"
    there = [f"--project={PROJECT}", f"--region={REGION}", f"--dataflow_endpoint={place.cloud.endpoint}"]
    command = ("-m", "pipeline.dataflow_job")
    state = place.run("state", "updated", *there, command=command)
    assert state.stdout.strip() == "updated: JOB_STATE_RUNNING"
    drained = place.run("drain", new["id"], *there, command=command)
    assert drained.returncode == 0, drained.stderr
    assert new["currentState"] == "JOB_STATE_DRAINING"
    gone = place.run("drain", "nobody", *there, command=command)
    assert (gone.returncode, gone.stderr.splitlines()[-1]) == (1, "error: no active job is called nobody there")


def test_a_refusal_is_told(place: Place) -> None:
    place.cloud.refuse_jobs = 403
    try:
        done = place.run(*place.flags("refused"))
    finally:
        place.cloud.refuse_jobs = None
    assert done.returncode == 1
    assert "dataflow.jobs.create" in done.stderr
    assert place.broker.password not in done.stdout + done.stderr


def test_a_secret_that_is_not_there_stops_it_before_anything_is_staged(place: Place) -> None:
    before = len(place.cloud.objects)
    flags = [flag.replace("kafka-password", "nothing") for flag in place.flags("secretless")]
    done = place.run(*flags)
    assert done.returncode == 2
    assert "secrets/nothing/versions/3: there is no such secret" in done.stderr
    assert len(place.cloud.objects) == before


def test_the_flex_templates_launcher_writes_the_job_for_dataflow(place: Place) -> None:
    """Run as Google's launcher runs it: parameters as --name=value, and a place for the job's description.

    Google's launcher binary itself is in an image of theirs, which can't be had here.
    """
    url = f"gs://{BUCKET}/staging/template_launches/1/job_object"
    jobs = len(place.cloud.jobs)
    flags = [flag for flag in place.flags("templated") if not flag.startswith(("--runner", "--kafka_config"))]
    properties = [flag.partition("=")[2] for flag in place.flags("templated") if flag.startswith("--kafka_config")]
    done = place.run(
        *flags,
        f"--kafka_config={'|'.join(properties)}",
        "--group_id=",
        "--runner=DataflowRunner",
        f"--staging_location=gs://{BUCKET}/staging",
        "--max_num_workers=2",
        "--service_account_email=scoring@demo-project.iam.gserviceaccount.com",
        '--labels={"goog-dataflow-provided-template-type": "flex"}',
        f"--template_location={url}",
        command=("deploy/dataflow/main.py",),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 shards for 2 partitions" in done.stdout
    assert len(place.cloud.jobs) == jobs  # Dataflow's launcher creates it, from this:
    job = json.loads(place.cloud.object(url))
    assert job["name"] == "templated"
    assert job["labels"] == {"goog-dataflow-provided-template-type": "flex"}
    assert job["environment"]["serviceAccountEmail"] == "scoring@demo-project.iam.gserviceaccount.com"
    assert job["environment"]["workerPools"][0]["workerHarnessContainerImage"] == IMAGE
    assert place.broker.password not in json.dumps(job)
    assert staged(place, job).root_transform_ids
