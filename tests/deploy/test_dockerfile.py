"""The service image without Docker: its steps in a folder and a virtual environment, its entry point as another user.

No image is built here: ``make image`` does that, in minutes. What an engine would do for the target ``service`` (COPY, RUN,
ENV, USER, ENTRYPOINT) is done by this test from the Dockerfile's own lines.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.deploy.dockerfile import expanded, stages
from tests.deploy.service import check_service
from tests.deploy.tools import DEPLOY, run_tool
from tests.kafka_broker import ROOT

DOCKERFILE = DEPLOY / "Dockerfile"
USER = 10001


def test_hadolint_finds_nothing() -> None:
    run_tool("hadolint", "--failure-threshold=style", DOCKERFILE)


def test_the_image_has_a_user_a_probe_and_an_entry_point_without_a_shell() -> None:
    service = dict(stages(DOCKERFILE)["service"])
    assert service["USER"] == str(USER)
    assert service["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(service["ENTRYPOINT"])[:3] == ["python", "-m", "pipeline"]  # a shell would keep SIGTERM to itself
    assert "PYTHONSAFEPATH=1" in service["ENV"].split(), "else a file in the current folder would be imported"


def test_what_the_service_installs_has_no_google_cloud_and_the_worker_has() -> None:
    """It is most of the difference between an image of 400 MB and one of 1.2 GB."""
    for stage, found in (("build", False), ("worker", True)):
        requirements = dict(stages(DOCKERFILE)[stage])["ARG"].partition("=")[2]
        text = (ROOT / requirements).read_text(encoding="utf-8")
        assert ("google-cloud-aiplatform==" in text) is found, requirements
        assert "apache-beam==" in text


def test_the_context_has_what_is_copied_and_nothing_private() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    for name, instructions in stages(DOCKERFILE).items():
        arguments: dict[str, str] = {}
        for instruction, text in instructions:
            if instruction == "ARG":
                argument, _, value = text.partition("=")
                arguments[argument] = value
            elif instruction == "COPY" and "--from" not in text:
                for source in expanded(text, arguments).split()[:-1]:
                    assert (ROOT / source).exists(), (name, source)
                    assert any(source == path or source.startswith(f"{path}/") for path in allowed), (name, source)


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder in which the steps of the stage ``build`` were carried out, from which ``service`` copies ``/venv``."""
    if shutil.which("readelf") is None or shutil.which("strip") is None:
        pytest.skip("binutils is not here (Debian: apt-get install binutils); the image's build stage installs it")
    folder = Path(tempfile.mkdtemp(prefix="service-image-"))  # not pytest's: another user has to read it
    try:
        _carry_out(stages(DOCKERFILE)["build"], folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _carry_out(instructions: list[tuple[str, str]], folder: Path) -> None:
    app, venv = folder / "app", folder / "venv"
    app.mkdir()
    folder.chmod(0o755)
    # Copies, as pip makes them: uv would link the files of its cache, which other environments share.
    environ = os.environ | {"VIRTUAL_ENV": str(venv), "UV_LINK_MODE": "copy"}
    arguments = {}
    for instruction, text in instructions:
        text = re.sub(r"/venv\b", str(venv), text)
        if instruction == "ARG":
            name, _, value = text.partition("=")
            arguments[name] = value
        elif instruction == "ENV":
            environ |= dict(part.replace("$PATH", environ["PATH"]).split("=", 1) for part in shlex.split(text))
        elif instruction == "COPY":
            *sources, target = expanded(text, arguments).split()
            for source in sources:
                _copy(ROOT / source, app / target if target != "./" else app / Path(source).name)
        elif instruction == "RUN" and not text.startswith("apt-get"):  # the machine stays as it is
            command = text.replace("python -m venv", f"{sys.executable} -m venv")
            # uv takes the same arguments, checks the same hashes, and is done in seconds where pip needs minutes.
            uv = f"{sys.executable} -m uv pip install --quiet --python {venv}/bin/python"
            command = command.replace("pip install --no-cache-dir", uv)
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


def test_the_service_runs_as_another_user_is_healthy_and_drains(image: Path, kafka: str) -> None:
    """Installed by the image's own steps, with hashes; the source is not in its path."""
    entry = json.loads(dict(stages(DOCKERFILE)["service"])["ENTRYPOINT"])
    entry[0] = f"{image}/venv/bin/python"
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o777)

        def start(command: list[str], out: IO[bytes]) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*_as_user(), *command],
                cwd=home,
                env={"PATH": os.environ["PATH"], "TMPDIR": home, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

        check_service(kafka, entry, start, Path(home, "log"), USER if os.geteuid() == 0 else None)
