"""The hooks of ``.pre-commit-config.yaml`` run what their labels say, and nothing that takes long."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from tests.docs.pages import FURTHER_TUTORIALS

ROOT = Path(__file__).parents[1]

LIST = """
import json, pytest, sys

class Listing:
    def pytest_collection_finish(self, session):
        self.tests = {item.nodeid: sorted(item.fixturenames) for item in session.items}

listing = Listing()
status = pytest.main([*sys.argv[1:], "--collect-only", "-qq"], plugins=[listing])
print(json.dumps(listing.tests))
sys.exit(status)
"""

STARTING = {"reader", "tutorial", "kafka", "own_kafka"}
"""The fixtures of which a test of the documents starts a process: somebody's terminals, and a real Kafka."""


def selected(*arguments: str) -> dict[str, set[str]]:
    """The tests that pytest runs with these arguments, and the fixtures of each."""
    done = subprocess.run(
        [sys.executable, "-c", LIST, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return {test: set(fixtures) for test, fixtures in found.items()}


def test_the_documents_hook_selects_every_test_of_the_documents_that_starts_nothing() -> None:
    hooks = {
        hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    }
    program, *arguments = shlex.split(hooks["documents"]["entry"])
    assert (program, arguments[:2]) == (".venv/bin/python", ["-m", "pytest"])
    every = selected("tests/docs")
    starting = {test for test, fixtures in every.items() if fixtures & STARTING}
    further = [f"test_a_further_tutorial[{page}]" for page in FURTHER_TUTORIALS]
    assert starting == {f"tests/docs/test_runs.py::{name}" for name in ("test_the_tutorial", *further, "test_the_readme")}
    chosen = selected(*arguments[2:]).keys()
    assert not chosen & starting
    kept = {test for test in every if not test.startswith("tests/docs/test_runs.py::")}
    assert chosen == kept
    for checked in ("test_links", "test_reference", "test_commands"):
        assert any(test.startswith(f"tests/docs/{checked}.py::") for test in chosen), checked
