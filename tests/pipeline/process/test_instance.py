"""Instance ids: the lowest free numbers, one for each worker, that come back after a crash."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.process.instance import InstanceIds

HOST = socket.gethostname()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    tempfile.tempdir = None


def ids(count: int = 1, group: str = "g", broker: str = "b:1", given: str | None = None) -> InstanceIds:
    return InstanceIds(broker, group, given, count)


def test_the_lowest_free_numbers() -> None:
    first, second = ids(2), ids()
    assert first.ids == [f"{HOST}-0", f"{HOST}-1"]
    assert second.ids == [f"{HOST}-2"]
    first.close()
    third = ids(3)
    assert third.ids == [f"{HOST}-0", f"{HOST}-1", f"{HOST}-3"]
    for held in (second, third):
        held.close()


def test_groups_and_clusters_do_not_share_numbers() -> None:
    held = [ids(), ids(group="other"), ids(broker="c:1")]
    assert [one.ids for one in held] == [[f"{HOST}-0"]] * 3
    for one in held:
        one.close()


def test_what_is_given_is_used() -> None:
    """A pod's name, say; the numbers of its workers behind it."""
    assert ids(given="pod-7").ids == ["pod-7"]
    assert ids(2, given="pod-7").ids == ["pod-7-0", "pod-7-1"]


HOLD = """
import sys
from pipeline.process.instance import InstanceIds
held = InstanceIds("b:1", "g", None, 1)
print(held.ids[0], flush=True)
sys.stdin.read()
"""


def test_a_number_is_free_again_when_its_process_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == f"{HOST}-0"
        beside = ids()
        assert beside.ids == [f"{HOST}-1"]
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    after = ids()
    assert after.ids == [f"{HOST}-0"], "so that it fences what the killed one left open"
    for held in (beside, after):
        held.close()


def test_children_do_not_keep_a_number() -> None:
    """A worker that outlives its parent for a moment must not hold the parent's place."""
    held = ids()
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        held.close()
        again = ids()
        assert again.ids == [f"{HOST}-0"]
        assert child.poll() is None
        child.communicate(timeout=10)
    again.close()
