"""The service image without Docker: its steps in a folder and a virtual environment, its entry point as another user.

No image is built here, there is no Docker engine. What an engine would do for the target ``service`` (COPY, RUN pip, ENV,
WORKDIR, USER, ENTRYPOINT, HEALTHCHECK, STOPSIGNAL) is done by this test from the Dockerfile's own lines.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import topics
from tests.deploy.dockerfile import expanded, stages
from tests.deploy.tools import DEPLOY, run_tool
from tests.integration.process import START_S
from tests.kafka_broker import ROOT
from transforms.child_process import free_port
from transforms.testing.tfserving_grpc_stub import TfServingGrpcStub

DOCKERFILE = DEPLOY / "Dockerfile"
USER = 10001


def test_hadolint_finds_nothing() -> None:
    run_tool("hadolint", "--failure-threshold=style", DOCKERFILE)


def test_the_image_has_a_user_a_probe_and_an_entry_point_without_a_shell() -> None:
    service = dict(stages(DOCKERFILE)["service"])
    assert service["USER"] == str(USER)
    assert service["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(service["ENTRYPOINT"])[:3] == ["python", "-m", "pipeline"]  # a shell would keep SIGTERM to itself


def test_the_context_has_what_is_copied_and_nothing_private() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    for name, instructions in stages(DOCKERFILE).items():
        arguments = {"REQUIREMENTS": "requirements-service.txt"}
        for instruction, text in instructions:
            if instruction == "COPY" and "--from" not in text:
                for source in expanded(text, arguments).split()[:-1]:
                    assert (ROOT / source).exists(), (name, source)
                    assert any(source == path or source.startswith(f"{path}/") for path in allowed), (name, source)


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder in which the steps of the target ``service`` were carried out."""
    folder = Path(tempfile.mkdtemp(prefix="service-image-"))  # not pytest's: another user has to read it
    try:
        _carry_out(stages(DOCKERFILE)["service"], folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _carry_out(instructions: list[tuple[str, str]], folder: Path) -> None:
    app, venv = folder / "app", folder / "venv"
    app.mkdir()
    folder.chmod(0o755)
    uv = f"{sys.executable} -m uv"
    python = ["--python", sys.executable, str(venv)]
    subprocess.run([*uv.split(), "venv", "--quiet", "--seed", *python], check=True)  # with setuptools, like the base image
    environ = os.environ | {"PATH": f"{venv}/bin:{os.environ['PATH']}", "VIRTUAL_ENV": str(venv)}
    arguments = {}
    for instruction, text in instructions:
        if instruction == "ARG":
            name, _, value = text.partition("=")
            arguments[name] = value
        elif instruction == "ENV":
            environ |= dict(part.split("=", 1) for part in shlex.split(text))
        elif instruction == "COPY":
            *sources, target = expanded(text, arguments).split()
            for source in sources:
                _copy(ROOT / source, app / target if target != "./" else app / Path(source).name)
        elif instruction == "RUN":
            command = text.partition("&& useradd")[0]  # the account: of the machine it stays away
            # uv takes the same arguments, checks the same hashes, and is done in seconds where pip needs minutes.
            command = command.replace("pip install --no-cache-dir", f"{uv} pip install --quiet --python {venv}/bin/python")
            done = subprocess.run(["sh", "-ec", command], cwd=app, env=environ, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _as_user() -> list[str]:
    """Before a command: another user, who may read what root may, because the interpreter may be in root's home."""
    if os.geteuid() != 0:
        return []
    may_read = "+dac_read_search"
    ids = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    return ["setpriv", *ids, f"--inh-caps={may_read}", f"--ambient-caps={may_read}"]


def _status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def test_the_service_runs_as_another_user_is_healthy_and_drains(image: Path, kafka: str) -> None:
    """Installed by the image's own steps, with hashes; the source is not in its path."""
    name = hashlib.sha256(str(image).encode()).hexdigest()[:8]
    topics.create_topic(kafka, f"in-{name}", 2)
    for topic in (f"out-{name}", f"out-{name}.dead-letter"):
        topics.create_topic(kafka, topic, 2)
    entry = json.loads(dict(stages(DOCKERFILE)["service"])["ENTRYPOINT"])
    port = free_port()
    with tempfile.TemporaryDirectory() as home, TfServingGrpcStub() as stub:
        Path(home).chmod(0o777)
        command = [
            *entry,
            f"--bootstrap_servers={kafka}",
            f"--input_topic=in-{name}",
            f"--output_topic=out-{name}",
            f"--group_id=group-{name}",
            f"--model={stub.uri()}",
            "--metrics_host=127.0.0.1",  # these later ones win
            f"--metrics_port={port}",
        ]
        command[0] = f"{image}/venv/bin/python"
        command = [*_as_user(), *command]
        log = Path(home, "log")
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=home,
                env={"PATH": os.environ["PATH"], "TMPDIR": home, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            stop_at = time.monotonic() + START_S
            while _status(port, "/healthz") != 200:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < stop_at, log.read_text()
                time.sleep(0.2)
            assert _status(port, "/readyz") == 200
            if os.geteuid() == 0:
                assert f"Uid:\t{USER}" in Path(f"/proc/{process.pid}/status").read_text()
            topics.produce(kafka, f"in-{name}", (b'{"x": [%d]}' % number for number in range(1000)), partitions=[0, 1] * 500)
            stop_at = time.monotonic() + START_S
            while sum(topics.committed_offsets(kafka, f"group-{name}", f"in-{name}").values()) < 1000:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < stop_at, log.read_text()
                time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_S) == 0, log.read_text()
            assert "draining" in log.read_text()
            assert len(topics.read_all(kafka, f"out-{name}")) == 1000
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
