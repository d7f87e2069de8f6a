"""A copy of the tree to mutate, and test runs in it: the working tree is never changed, whatever ends the run."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MOST_BYTES = 8 << 30
"""Memory of a test run: mutated code may collect without end, and starve the machine before its time is over."""
COPIED = ("transforms", "pipeline", "tests", "bench", "pyproject.toml")

_running: set[subprocess.Popen[str]] = set()
_ending = threading.Event()


@contextlib.contextmanager
def copied_tree() -> Iterator[Path]:
    """A folder with what the tests need; removed at the end, after Ctrl-C too."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))
        yield Path(folder)


def run_tests(copy: Path, tests: Sequence[str], timeout_s: float, seed: int = 0) -> tuple[int, str]:
    """Runs pytest on the copy until the first failure, and ends all that it started if it takes too long.

    Args:
        copy: The tree.
        tests: pytest's arguments.
        timeout_s: How long it may take.
        seed: Of property tests' examples, and of the order of sets: what is found must not be a matter of luck.

    Returns:
        The exit status and what pytest printed.

    Raises:
        TimeoutError: It took longer than ``timeout_s``.
        InterruptedError: ``end_all`` was called.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}", *tests],
        cwd=copy,
        env=_environment(copy, seed),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a group of its own, which is ended with all its children
    )
    _running.add(process)
    try:
        if sys.platform == "linux":
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        if not _ending.is_set():
            output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"pytest ran longer than {timeout_s:.0f} s") from None
    finally:
        _running.discard(process)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if _ending.is_set():
        raise InterruptedError
    return process.returncode, output


def _environment(copy: Path, seed: int) -> dict[str, str]:
    # Without CI, in which property tests have examples of their own, whatever the seed (tests/conftest.py).
    ours = {name: value for name, value in os.environ.items() if name != "CI"}
    return {**ours, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": str(seed)}


def end_all() -> None:
    """Ends the test runs of all threads, with all that they have started, and lets none begin."""
    _ending.set()
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
