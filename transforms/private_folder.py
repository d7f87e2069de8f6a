"""``private_folder``: a folder of this user alone, within the system's temporary folder, in which all users may write."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from transforms.errors import ConfigError


def private_folder() -> Path:
    """Makes the folder if it is not there, and returns it. No other user may read it or write to it.

    Raises:
        ConfigError: Its name is taken: by a folder of another user, a file or a link.
    """
    uid = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"kafka-model-scoring-{uid}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError([f"{folder} can't be used: {error.strerror}; set TMPDIR to a folder of your own"]) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
        cure = "remove it, or set TMPDIR to a folder of your own"
        raise ConfigError([f"{folder} is not a folder of this user (id {uid}): {cure}"])
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder
