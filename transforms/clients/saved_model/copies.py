"""``LocalCopy``: a local copy of a remote model, because TensorFlow's C library reads the local disk only.

A copy is kept as long as its model is loaded, because the graph may read its assets at any time. A process that is killed
leaves its copies on the disk. The next process that makes a copy removes them: each copy has a lock file, and the operating
system frees the lock when its process ends.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO

from transforms.clients.model_files import ModelFiles
from transforms.private_folder import private_folder

_LOCK = ".lock"


def copies_folder() -> Path:
    """Returns the folder of this user's copies, below the system's temporary folder (``TMPDIR``)."""
    return private_folder() / "saved-models"


class LocalCopy:
    """A copy of one remote folder. Call ``remove`` when the model is no longer used.

    Args:
        files: The remote file system.
        folder: The remote folder.
        parent: The local folder of all copies; ``copies_folder()`` if ``None``.

    Attributes:
        path: The local folder of the copy.

    Raises:
        OSError: A file can't be read or written.
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
        except OSError:  # another process has just removed it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _delete(path.with_suffix(""), lock)
