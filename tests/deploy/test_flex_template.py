"""The flex template's metadata comes from the flags and fits Google's definition of it; parameters become flags again."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import options
from pipeline.cli.config import FLAGS
from pipeline.cli.flag import Where
from pipeline.runners.dataflow.flex_template import flags_of, metadata, with_local_files
from tests.deploy.tools import DEPLOY, run_tool
from tests.memory_file_system import MemoryFileSystem
from transforms.clients import register_client, unregister_client
from transforms.errors import ConfigError

FILE = DEPLOY / "dataflow" / "metadata.json"
PARAMETERS: dict[str, dict[str, Any]] = {parameter["name"]: parameter for parameter in metadata()["parameters"]}

READ_AS_GOOGLE_DOES = """
import json, sys
from google.protobuf import json_format
from google.cloud.dataflow_v1beta3.types import TemplateMetadata

document = json.load(sys.stdin)
message = TemplateMetadata.pb(TemplateMetadata())
json_format.ParseDict(document, message)  # an unknown field or value of an enumeration is an error
for parameter in message.parameters:
    assert parameter.name and parameter.label and parameter.help_text, parameter
print(len(message.parameters))
"""


def test_the_file_is_what_the_flags_say() -> None:
    """Else: make reference."""
    assert json.loads(FILE.read_text(encoding="utf-8")) == metadata()


def test_the_model_may_have_any_scheme_of_the_registry() -> None:
    """Also one that another package adds: the template of an image with that package takes it."""

    def fits(uri: str) -> bool:
        (model,) = (parameter for parameter in metadata()["parameters"] if parameter["name"] == "model")
        return all(re.fullmatch(regex, uri) for regex in model["regexes"])

    assert fits("oip+grpcs://h:1/m")
    assert not fits("toy+http://h:1/m")
    register_client("toy+http", "kms_toy.client")
    try:
        assert fits("toy+http://h:1/m")
    finally:
        unregister_client("toy+http")


def test_every_flag_is_a_parameter_or_left_out_for_a_reason() -> None:
    parameters = {flag.name for flag in FLAGS if not flag.no_parameter}
    assert set(PARAMETERS) == parameters | {"sdk_container_image"}
    for flag in FLAGS:
        assert not (flag.no_parameter and flag.required), flag.name
        refused = [refusal for refusal in flag.refused if refusal.where is Where.DATAFLOW]
        assert flag.no_parameter or not refused, f"--{flag.name} would be refused as a parameter"


def test_it_fits_the_published_definition() -> None:
    """That of Google's own client library, google-cloud-dataflow-client: field by field, and all that is required."""
    assert int(run_tool("python", "-c", READ_AS_GOOGLE_DOES, stdin=FILE.read_text())) == len(PARAMETERS)


def test_every_parameter_has_help_and_validation() -> None:
    for name, parameter in PARAMETERS.items():
        assert re.fullmatch(r"[a-zA-Z][-_a-zA-Z0-9]*", name)
        assert len(parameter["helpText"]) > 10, name
        assert parameter["regexes"], name
        assert "may be repeated" not in parameter["helpText"]
        assert "${ENV}" not in parameter["helpText"]
        if "defaultValue" in parameter:
            assert fits(name, parameter["defaultValue"]), name


def fits(name: str, value: str) -> bool:
    """As Dataflow checks before it starts anything."""
    return all(re.search(regex, value) for regex in PARAMETERS[name]["regexes"])


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("bootstrap_servers", "a:9092,b:9092", True),
        ("sdk_container_image", "europe-docker.pkg.dev/p/images/worker:1", True),
        ("sdk_container_image", "worker", False),
        ("bootstrap_servers", "a", False),
        ("bootstrap_servers", "a:9092 b:9092", False),
        ("input_topic", "orders|returns", True),
        ("input_topic", "orders,returns", False),
        ("output_topic", "orders|returns", False),
        ("model", "grpc://serving:8500/fraud", True),
        ("model", "oip+http://serving:8000/fraud", True),
        ("model", "vertex://p/europe-west1/1", True),
        ("model", "serving:8500", False),
        ("kafka_config", "security.protocol=SASL_SSL|sasl.password=${secret:projects/p/secrets/k/versions/1}", True),
        ("kafka_config", "security.protocol", False),
        ("batch_max_size", "0", False),
        ("batch_max_size", "64", True),
        ("retry_deadline_s", "1.5", True),
        ("retry_deadline_s", "soon", False),
        ("output_mode", "merge", True),
        ("output_mode", "mergers", False),
        ("start_from", "2026-01-31T12:00:00+00:00", True),
        ("start_from", "Tuesday", False),
        ("max_in_flight", "auto", True),
    ],
)
def test_what_a_parameter_takes(name: str, value: str, good: bool) -> None:
    assert fits(name, value) is good


def test_what_the_regexes_take_our_own_checks_take() -> None:
    """For every choice of every flag."""
    for flag in FLAGS:
        if flag.name in PARAMETERS:
            assert [choice for choice in flag.kind.choices if not fits(flag.name, choice)] == []


def test_parameters_become_flags() -> None:
    given = [
        "--bootstrap_servers=a:9092",
        "--input_topic=orders|returns",
        "--output_topic=scored",
        "--model=grpc://h:1/m",
        "--kafka_config=security.protocol=SASL_SSL|sasl.mechanism=PLAIN|sasl.username=u"
        "|sasl.password=${secret:projects/p/secrets/k/versions/1}",
        "--group_id=",  # left empty in the console
        "--workers=4",  # is not one of the template's
        # What the launcher adds, of the job and of its environment.
        '--labels={ "team" : "risk" }',
        "--runner=DataflowRunner",
        "--project=demo-project",
        "--region=europe-west1",
        "--temp_location=gs://bucket/temp",
        "--staging_location=gs://bucket/staging",
        "--max_num_workers=8",
        "--worker_machine_type=n2-standard-4",
        "--service_account_email=scoring@demo-project.iam.gserviceaccount.com",
        "--experiments=enable_streaming_engine",
        "--sdk_container_image=host/p/image:1",
        "--template_location=gs://bucket/staging/template_launches/1/job_object",
        "--job_name=scoring",
    ]
    config = options.parse(flags_of(given), {})
    assert config.runner == "DataflowRunner"
    assert config.input_topics == ("orders", "returns")
    assert dict(config.kafka_properties)["sasl.username"] == "u"
    assert config.group_id == "kafka-model-scoring"
    assert config.workers == 1
    assert config.labels is None
    assert '--label={ "team" : "risk" }' in config.beam_args
    assert set(given[-8:-3]) <= set(config.beam_args)
    assert (config.kafka_io, config.delivery) == ("native", "exactly_once")


def test_beams_java_transforms_are_a_choice_of_the_template() -> None:
    assert fits("kafka_io", "beam")
    own = ["--bootstrap_servers=a:9092", "--input_topic=orders", "--output_topic=scored", "--model=grpc://h:1/m"]
    there = ["--project=p", "--region=r", "--temp_location=gs://bucket/temp", "--sdk_container_image=host/p/image:1"]
    config = options.parse(flags_of([*own, *there, "--kafka_io=beam"]), {})
    assert (config.kafka_io, config.delivery) == ("beam", "at_least_once")


def test_files_that_the_launcher_reads_may_be_in_an_object_store(tmp_path: Path) -> None:
    MemoryFileSystem.objects["memory://bucket/labels.txt"] = b"cat\ndog\n"
    [flag] = with_local_files(["--labels=memory://bucket/labels.txt"], tmp_path)
    assert Path(flag.removeprefix("--labels=")).read_bytes() == b"cat\ndog\n"
    with pytest.raises(ConfigError, match=r"--avro_schema=nowhere://schema: can't be read"):
        with_local_files(["--avro_schema=nowhere://schema"], tmp_path)
    assert with_local_files(["--labels=/a", "--model=grpc://h:1/m"], tmp_path) == ["--labels=/a", "--model=grpc://h:1/m"]


def gcloud_gets(tmp_path: Path, script: str, *arguments: str) -> list[list[str]]:
    """Runs a script of ``deploy/dataflow`` with commands in the place of docker and gcloud that note what they are given."""
    calls = tmp_path / "calls"
    for name in ("docker", "gcloud"):
        command = tmp_path / name
        command.write_text(f'#!/bin/sh\nprintf "%s\\037" {name} "$@" >> {calls}\necho >> {calls}\n')
        command.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    path = DEPLOY / "dataflow" / script
    subprocess.run(["bash", str(path), *arguments], env=environ, check=True, capture_output=True, timeout=30)
    return [line.split("\037")[:-1] for line in calls.read_text().splitlines()]


def test_the_template_is_built_from_the_target_and_the_metadata(tmp_path: Path) -> None:
    build, push, template = gcloud_gets(tmp_path, "build.sh", "host/p/image:1", "gs://bucket/t.json")
    assert build[:2] == ["docker", "build"]
    assert "dataflow" in build
    assert push == ["docker", "push", "host/p/image:1"]
    assert template[1:5] == ["dataflow", "flex-template", "build", "gs://bucket/t.json"]
    assert "--metadata-file=deploy/dataflow/metadata.json" in template


def test_a_launch_gives_every_parameter_also_with_commas(tmp_path: Path) -> None:
    parameters = ["bootstrap_servers=a:1,b:1", "kafka_config=a=1|b=2"]
    [call] = gcloud_gets(tmp_path, "launch.sh", "gs://b/t.json", "r", "job", "host/p/image:1", "--", *parameters)
    [given] = [argument for argument in call if argument.startswith("--parameters=")]
    assert given == "--parameters=^~^sdk_container_image=host/p/image:1~" + "~".join(parameters)
    for parameter in given.removeprefix("--parameters=^~^").split("~"):
        assert fits(*parameter.split("=", 1)), parameter
