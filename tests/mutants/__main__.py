"""``python -m tests.mutants [WORD …]``: applies each known mutation to a copy of the code; its test must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.known import KNOWN, Mutation

ROOT = Path(__file__).parent.parent.parent
COPIED = ("transforms", "pipeline", "tests", "pyproject.toml")
FAILED_TESTS = 1
TIMEOUT_S = 300


def is_killed(mutation: Mutation, copy: Path) -> bool:
    """Whether the mutation's test fails with it; a test that hangs has failed too."""
    path = copy / mutation.path
    original = path.read_text()
    assert original.count(mutation.old) == 1, f"{mutation.name}: the text occurs {original.count(mutation.old)} times"
    path.write_text(original.replace(mutation.old, mutation.new))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutation.test.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(original)
    assert done.returncode in (0, FAILED_TESTS), done.stdout + done.stderr  # else the test could not be run
    return done.returncode == FAILED_TESTS


def main(words: list[str]) -> int:
    """Checks the mutations whose names have one of the words; all of them without words. Returns the exit status."""
    chosen = [mutation for mutation in KNOWN if not words or any(word in mutation.name for word in words)]
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))
        for number, mutation in enumerate(chosen, 1):
            killed = is_killed(mutation, Path(folder))
            print(
                f"{number}/{len(chosen)} {'killed' if killed else 'SURVIVED'}  {mutation.name}  ({mutation.test})",
                flush=True,
            )
            survivors += [] if killed else [mutation]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutations killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
