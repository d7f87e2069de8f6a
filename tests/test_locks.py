"""The lock files: what they pin is complete for every pip, and ``.ci/find-python`` finds the Python to install them on."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FIND_PYTHON = ROOT / ".ci" / "find-python"
LOCKS = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-service.txt",
    "requirements-aws.txt",
    "requirements-gcp.txt",
)


def pins(lock: str) -> list[Requirement]:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.rstrip("\\ ")) for line in lines if re.match(r"[\w.-]+(\[.*\])?==", line)]


def asked_by(pin: Requirement) -> list[str]:
    """What the installed package asks for; nothing where it is not installed (``make test-newest``)."""
    try:
        return importlib.metadata.requires(pin.name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


@pytest.mark.parametrize("lock", LOCKS)
def test_an_extra_that_a_package_asks_for_has_a_pin_of_its_own(lock: str) -> None:
    """pip older than 23.1 has no hash for ``google-auth[pyopenssl]`` when only ``google-auth`` is pinned."""
    here = [pin for pin in pins(lock) if pin.marker is None or pin.marker.evaluate()]
    pinned = {(canonicalize_name(pin.name), frozenset(pin.extras)) for pin in here}
    names = {name for name, _ in pinned}
    missing = {(name, extras) for name, extras in pinned if extras and (name, frozenset[str]()) not in pinned}
    for pin in here:
        for text in asked_by(pin):
            asked = Requirement(text)
            wanted = any(asked.marker is None or asked.marker.evaluate({"extra": extra}) for extra in (*pin.extras, ""))
            key = (canonicalize_name(asked.name), frozenset(asked.extras))
            if wanted and asked.extras and key[0] in names and key not in pinned:
                missing.add(key)
    assert missing == set()


def test_all_locks_pin_the_same_versions() -> None:
    """One environment is made of them."""
    versions: dict[tuple[str, str], set[str]] = {}
    for lock in LOCKS:
        for pin in pins(lock):
            if pin.marker is None or pin.marker.evaluate():
                versions.setdefault((canonicalize_name(pin.name), str(sorted(pin.extras))), set()).add(str(pin.specifier))
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def stand_in(folder: Path, name: str, version: str, *, works: bool = True) -> None:
    """A program that answers as that Python does, or like a shim of pyenv's whose version is not selected."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{f'echo {version} {path}' if works else 'exit 127'}\n")
    path.chmod(0o755)


def find_python(folder: Path, *versions: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PATH": f"{folder}:/nowhere", "PYENV_ROOT": str(folder / "pyenv")}
    return subprocess.run(["/bin/sh", FIND_PYTHON, *versions], capture_output=True, text=True, env=environ, check=False)


def test_the_first_python_that_runs_is_found(tmp_path: Path) -> None:
    """A name in PATH is not enough, and pyenv's folder counts."""
    stand_in(tmp_path, "python3.13", "3.13", works=False)
    stand_in(tmp_path, "python3", "3.12")
    assert find_python(tmp_path, "3.13", "3.12", "3.11").stdout == f"{tmp_path}/python3\n"
    stand_in(tmp_path, "pyenv/versions/3.13.5/bin/python", "3.13")
    assert find_python(tmp_path, "3.13", "3.12").stdout == f"{tmp_path}/pyenv/versions/3.13.5/bin/python\n"


def test_without_one_it_is_said_what_to_install(tmp_path: Path) -> None:
    stand_in(tmp_path, "python3", "3.10")
    done = find_python(tmp_path, "3.13", "3.12")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no Python 3.13/3.12 found: install one" in done.stderr
    assert "make PYTHON=" in done.stderr
