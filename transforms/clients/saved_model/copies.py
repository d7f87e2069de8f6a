"""Local copies of models from elsewhere: TensorFlow's C library reads this machine's disk alone.

A copy lives as long as its model, whose graph may read its assets at any time. What a process that was killed left behind is
removed by the next one that makes a copy: a lock says whether somebody still needs it, and the operating system frees that.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from transforms.clients.model_files import ModelFiles

_LOCK = ".lock"


def copies_folder() -> Path:
    """The folder of this user's copies, below the system's for temporary files (``TMPDIR``)."""
    return Path(tempfile.gettempdir()) / f"kafka-model-scoring-{os.getuid()}" / "saved-models"


class LocalCopy:
    """A copy of one remote folder. ``remove`` it when the model is no longer used.

    Attributes:
        path: Where it is.

    Raises:
        OSError: It can't be made.
    """

    def __init__(self, files: ModelFiles, folder: str, parent: Path | None = None):
        parent = parent or copies_folder()
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_left_behind(parent)
        self.path = Path(tempfile.mkdtemp(dir=parent))
        self._lock = self.path.with_suffix(_LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            files.copy(folder, self.path)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Deletes the copy."""
        _delete(self.path, self._lock)


def _delete(path: Path, lock: IO[bytes]) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.with_suffix(_LOCK).unlink(missing_ok=True)
    lock.close()


def _remove_left_behind(parent: Path) -> None:
    for path in parent.glob(f"*{_LOCK}"):
        try:
            lock = path.open("r+b")
        except OSError:  # somebody else has just removed it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _delete(path.with_suffix(""), lock)
