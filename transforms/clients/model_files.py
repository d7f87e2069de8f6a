"""``ModelFiles``: the file system that a ``saved_model://`` client reads. ``LocalFiles``: the disk of this machine.

Clients never import Beam. The caller passes Beam's file systems (``gs://``, ``hdfs://`` …) in ``ClientOptions.model_files``,
as ``transforms.beam_files.BeamFiles``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

MOST_FILES = 100_000
"""The highest number of files below a model's folder. A path such as ``/`` is an error, and the disk is not searched."""


class ModelFiles(Protocol):
    """A file system that models are read from: hashable, picklable, safe to use from any thread. Its methods may block."""

    def listing(self, folder: str) -> Mapping[str, int]:
        """Lists every file below ``folder``.

        Returns:
            The path relative to ``folder`` to the size in bytes; empty if there is no such folder.

        Raises:
            OSError: The folder can't be read; the message says why.
            ConfigError: The file system of the path is not installed.
        """

    def copy(self, folder: str, target: Path) -> None:
        """Copies every file below ``folder`` into the existing local folder ``target``.

        Raises:
            OSError: A file can't be read or written.
        """


class LocalFiles:
    """The disk of this machine. Models on it are loaded in place and never copied."""

    def listing(self, folder: str) -> dict[str, int]:
        """See ``ModelFiles``. Follows symbolic links, because a version folder often is one."""
        base = Path(folder)
        found: dict[str, int] = {}
        for here, _, names in os.walk(base, onerror=_unless_absent, followlinks=True):
            for name in names:
                path = Path(here, name)
                try:
                    found[path.relative_to(base).as_posix()] = path.stat().st_size
                except FileNotFoundError:  # the file was moved or deleted meanwhile
                    continue
            if len(found) > MOST_FILES:
                raise OSError(f"more than {MOST_FILES:,} files below {folder}: is it the folder of one model?")
        return found


def is_local(path: str) -> bool:
    """Returns whether a path is on the disk of this machine: it has no scheme."""
    return "://" not in path


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
