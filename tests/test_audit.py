"""``make audit``: it passes, and it sees each kind of mistake."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

SCRIPT = Path(__file__).parents[1] / ".ci" / "audit.py"
HASH = f"    --hash=sha256:{'0' * 64}\n"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_files_pass() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "requirements.txt: " in done.stdout


@pytest.mark.parametrize(
    ("lock", "mistake"),
    [
        (f"a==1 \\\n{HASH}", None),
        (f"a[x,y]==1 ; python_version < '4' \\\n{HASH}", None),
        ("a==1\n    # via b\n", "a: has no hash"),
        (f"a>=1 \\\n{HASH}", "a: is not pinned to a version of an index"),
        (f"a @ https://h/a.whl \\\n{HASH}", "a: is not pinned to a version of an index"),
        ("-e .\n", "-e: is not pinned to a version of an index"),
        ("git+ssh://h/a\n", "git+ssh://h/a: is not pinned to a version of an index"),
    ],
)
def test_pins(audit: ModuleType, lock: str, mistake: str | None) -> None:
    assert list(audit.lock_mistakes(lock)) == ([] if mistake is None else [mistake])


def test_a_known_vulnerability(audit: ModuleType) -> None:
    """Of the package by any of its names, and not of another version."""
    known = {"CVE-1": "Some.Package<2"}
    assert list(audit.vulnerable(f"some-package==1.9 \\\n{HASH}", known)) == ["some-package 1.9: CVE-1 (Some.Package<2)"]
    assert list(audit.vulnerable(f"some-package==2.0 \\\n{HASH}", known)) == []
    assert list(audit.vulnerable(f"other==1.9 \\\n{HASH}", known)) == []


def test_each_advisory_has_a_number_and_versions(audit: ModuleType) -> None:
    known = tomllib.loads(audit.ADVISORIES.read_text(encoding="utf-8"))["advisories"]
    for number, affected in known.items():
        assert re.fullmatch(r"CVE-\d{4}-\d{4,}|GHSA(-[0-9a-z]{4}){3}|PYSEC-\d{4}-\d+", number)
        assert Requirement(affected).specifier, number


@pytest.mark.parametrize(
    ("licence", "fits"),
    [
        ("MIT", True),
        ("LGPL-3.0-only", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("GPL-3.0-or-later", False),
        ("GNU General Public License v2 (GPLv2)", False),
        ("AGPL-3.0", False),
        ("", True),
    ],
)
def test_licences(audit: ModuleType, licence: str, fits: bool) -> None:
    looked, mistakes = audit.licence_mistakes(f"a==1 \\\n{HASH}", lambda package: licence)
    assert (looked, mistakes) == (1, [] if fits else [f"a: its licence is {licence}"])
