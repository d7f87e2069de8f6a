"""A model in the worker from a file system of Beam's, and the local copies that are made of it."""

from __future__ import annotations

import asyncio
import fcntl
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apache_beam.io.filesystem import BeamIOError

from tests.memory_file_system import MemoryFileSystem
from transforms.beam_files import BeamFiles
from transforms.clients import open_client
from transforms.clients.base import ClientOptions
from transforms.clients.model_files import LocalFiles
from transforms.clients.saved_model.copies import LocalCopy
from transforms.errors import ConfigError, UnavailableError


@pytest.fixture
def memory() -> Iterator[type[MemoryFileSystem]]:
    MemoryFileSystem.objects.clear()
    yield MemoryFileSystem
    MemoryFileSystem.error = None


def test_listing_and_copying(memory: type[MemoryFileSystem], tmp_path: Path) -> None:
    memory.objects.update(
        {
            "memory://b/m/": b"",  # an object store's marker of a folder
            "memory://b/m/1/saved_model.pb": b"graph",
            "memory://b/m/1/assets/words.txt.gz": b"not to be unpacked",
            "memory://b/m/1/../../../evil": b"!",
            "memory://b/model/1/saved_model.pb": b"another's",
        }
    )
    files = pickle.loads(pickle.dumps(BeamFiles()))
    assert files.listing("memory://b/m") == {"1/saved_model.pb": 5, "1/assets/words.txt.gz": 18}
    assert files.listing("memory://b/none") == {}
    files.copy("memory://b/m/1", tmp_path)
    copied = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert copied == {"saved_model.pb": b"graph", "assets/words.txt.gz": b"not to be unpacked"}
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            BeamIOError("List failed", {"memory://b/m/**": PermissionError("403 forbidden")}),
            "PermissionError: 403 forbidden",
        ),
        (RuntimeError("credentials expired"), "RuntimeError: credentials expired"),
        (ConnectionResetError("reset"), "reset"),
    ],
)
def test_what_a_file_system_raises_is_unavailable(memory: type[MemoryFileSystem], error: Exception, said: str) -> None:
    memory.error = error
    with pytest.raises(UnavailableError, match=said):
        ask("memory://b/m")


def ask(path: str, options: ClientOptions | None = None) -> Any:
    async def run() -> Any:
        async with open_client(f"saved_model://{path}", options or ClientOptions(model_files=BeamFiles())) as client:
            return await client.metadata(20)

    return asyncio.run(run())


def test_a_file_system_that_is_not_installed() -> None:
    with pytest.raises(ConfigError, match="Beam has no file system for nosuch:// here: install apache-beam with the extra"):
        ask("nosuch://b/m")


def test_a_path_with_a_scheme_needs_files() -> None:
    """A client on its own knows only this machine's disk: it never imports Beam."""
    with pytest.raises(ConfigError, match=r"no file system for gs:// was given; pass ClientOptions\(model_files="):
        ask("gs://b/m", ClientOptions())


# ---------------------------------------------------------------------- this machine's disk


def test_local_listing_follows_links(tmp_path: Path) -> None:
    """Kubernetes mounts, and whoever switches versions by a link."""
    (tmp_path / "stored/variables").mkdir(parents=True)
    (tmp_path / "stored/saved_model.pb").write_bytes(b"graph")
    (tmp_path / "stored/variables/variables.index").write_bytes(b"x")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/7").symlink_to(tmp_path / "stored")
    assert LocalFiles().listing(str(tmp_path / "model")) == {"7/saved_model.pb": 5, "7/variables/variables.index": 1}
    assert LocalFiles().listing(str(tmp_path / "none")) == {}
    assert LocalFiles().listing(str(tmp_path / "stored/saved_model.pb")) == {}


# ---------------------------------------------------------------------- copies


class _OneFile:
    def listing(self, folder: str) -> dict[str, int]:
        return {"f": 1}

    def copy(self, folder: str, target: Path) -> None:
        if folder == "broken":
            raise OSError("cut short")
        (target / "f").write_bytes(b"1")


def test_copies_left_behind_are_removed_and_others_are_not(tmp_path: Path) -> None:
    """The lock of a process that was killed is free; the lock of one that lives is not."""
    kept = LocalCopy(_OneFile(), "m", tmp_path)
    dead = LocalCopy(_OneFile(), "m", tmp_path)
    dead._lock.close()  # as the operating system does
    new = LocalCopy(_OneFile(), "m", tmp_path)
    assert (kept.path / "f").exists()
    assert (new.path / "f").exists()
    assert not dead.path.exists()
    for copy in (kept, new):
        copy.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cut short"):
        LocalCopy(_OneFile(), "broken", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held(tmp_path: Path) -> None:
    copy = LocalCopy(_OneFile(), "m", tmp_path)
    with copy.path.with_suffix(".lock").open("r+b") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    copy.remove()
