"""Compose file, Kubernetes manifests and systemd unit: valid by their schemas, and their flags are flags of ours.

None of them runs here (no Docker engine, no cluster): what can be known without is checked.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import options
from pipeline.cli.config import Config
from pipeline.process.stats import WorkerStats
from pipeline.reporting.metrics import serve_metrics
from tests.deploy.tools import DEPLOY, documents, flink_crd, run_tool

COMPOSE = DEPLOY / "docker-compose.yml"
SCORING = DEPLOY / "kubernetes" / "scoring.yaml"
FLINK = DEPLOY / "kubernetes" / "flink.yaml"
UNIT = DEPLOY / "systemd" / "kafka-model-scoring@.service"


def of_kind(path: Path, kind: str) -> dict[str, Any]:
    [found] = [document for document in documents(path) if document["kind"] == kind]
    return found


def parse(arguments: list[str], **environ: str) -> Config:
    return options.parse(arguments, environ)


def entry_flags() -> list[str]:
    """The flags in the service image's entry point."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    found: list[str] = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[0])
    assert found[:3] == ["python", "-m", "pipeline"]
    return found[3:]


def test_compose_is_valid() -> None:
    run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_composes_flags_are_ours_and_it_waits_for_the_drain() -> None:
    service = documents(COMPOSE)[0]["services"]["scoring"]
    config = parse([*entry_flags(), *service["command"]])
    assert config.metrics_host == "0.0.0.0"
    assert int(service["stop_grace_period"].removesuffix("s")) > config.retry_deadline_s
    assert f":{config.metrics_port}" in service["ports"][0]


def test_composes_topics_are_made_before_they_are_used() -> None:
    services = documents(COMPOSE)[0]["services"]
    config = parse([*entry_flags(), *services["scoring"]["command"]])
    made = services["topics"]["command"][2]
    for topic in (*config.input_topics, config.output_topic, config.dead_letter_topic):
        assert re.search(rf"\s{re.escape(topic)}[\s;]", made), topic


@pytest.mark.parametrize("path", [SCORING, FLINK], ids=lambda path: path.name)
def test_kubernetes_resources_are_valid(path: Path, tmp_path: Path) -> None:
    """Strictly: a misspelled field is an error. Flink's own resource is checked by its own definition, below."""
    known = [document for document in documents(path) if "flink.apache.org" not in document["apiVersion"]]
    file = tmp_path / "known.yaml"
    file.write_text(yaml.safe_dump_all(known))
    run_tool("kubernetes-validate", "--strict", file)


def test_a_replica_keeps_its_name_and_its_flags_are_ours(tmp_path: Path) -> None:
    stateful = of_kind(SCORING, "StatefulSet")["spec"]
    pod = stateful["template"]["spec"]
    [container] = pod["containers"]
    flags = tmp_path / "flags.yaml"
    flags.write_text(of_kind(SCORING, "ConfigMap")["data"]["flags.yaml"].replace("/etc/kafka-ca/ca.crt", certificate()))
    arguments = [argument.replace("/etc/scoring/flags.yaml", str(flags)) for argument in container["args"]]
    environ = {variable["name"]: "value" for variable in container["env"]}
    config = parse([*entry_flags(), *arguments], **environ)
    assert config.instance_id == "$(POD_NAME)"  # which Kubernetes replaces
    assert dict(config.kafka_properties)["sasl.password"] == "value"
    assert pod["terminationGracePeriodSeconds"] > config.retry_deadline_s
    assert container["ports"][0]["containerPort"] == config.metrics_port
    assert pod["securityContext"]["runAsNonRoot"]
    assert "password" not in SCORING.read_text().replace("sasl.password: ${KAFKA_PASSWORD}", "").replace("key: password", "")


def certificate() -> str:
    """Some authorities' certificates that librdkafka can read."""
    import certifi

    return certifi.where()


def test_probes_ask_for_what_is_served() -> None:
    import urllib.request

    [container] = of_kind(SCORING, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    worker = WorkerStats()
    worker.polled()
    with serve_metrics(0, worker.rows) as port:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container[probe]["httpGet"]["path"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                assert answer.status == 200


def test_flinks_deployment_is_valid_by_the_operators_definition(tmp_path: Path) -> None:
    if shutil.which("mvn") is None:
        pytest.skip("mvn is not here; the definition is in the operator's jar on Maven Central")
    crd = flink_crd()
    deployment = of_kind(FLINK, "FlinkDeployment")
    [version] = [version for version in crd["spec"]["versions"] if deployment["apiVersion"].endswith(version["name"])]
    schema, instance = tmp_path / "schema.json", tmp_path / "instance.json"
    schema.write_text(json.dumps(_strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])))
    instance.write_text(json.dumps(deployment["spec"]))
    run_tool("check-jsonschema", "--schemafile", schema, instance)


def _strict(schema: Any) -> Any:
    """Refuses fields that the definition does not have, as the API server's strict validation does."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(value) for name, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
        strict.setdefault("additionalProperties", False)
    return strict


def test_the_job_that_submits_to_flink_has_flags_of_ours() -> None:
    [submit] = [document for document in documents(FLINK) if document["metadata"]["name"] == "scoring-submit"]
    [container] = submit["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "pipeline"]
    config = parse(container["args"])
    cluster = of_kind(FLINK, "FlinkDeployment")
    assert config.runner == "FlinkRunner"
    assert f"--flink_master={cluster['metadata']['name']}-rest:8081" in config.beam_args  # as the operator names the service
    spec = cluster["spec"]
    slots = int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"]) * spec["taskManager"]["replicas"]
    assert f"--parallelism={slots}" in config.beam_args


def unit_command() -> list[str]:
    text = UNIT.read_text(encoding="utf-8").replace("\\\n", " ")
    return shlex.split(re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)[0])


def test_the_units_flags_are_ours_and_it_waits_for_the_drain(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text("bootstrap_servers: h:1\ninput_topic: a\noutput_topic: b\nmodel: grpc://h:1/m\n")
    (tmp_path / "kafka").write_text("client.id=x\n")
    places = {"/etc/kafka-model-scoring/%i": f"{tmp_path}/orders", "%d": str(tmp_path)}
    command = unit_command()
    for place, here in places.items():
        command = [part.replace(place, here) for part in command]
    assert command[1:3] == ["-m", "pipeline"]
    config = parse(command[3:])
    assert config.instance_id == "%H-%i"  # which systemd replaces
    [timeout_s] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(timeout_s) > config.retry_deadline_s


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here (Debian: apt-get install systemd)")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(unit_command()[0], sys.executable))  # it looks whether the command is there
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert UNIT.name not in done.stderr, done.stderr
