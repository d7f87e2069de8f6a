"""Where the files of a model in the worker are: this machine's disk, or a file system that the caller brings along.

Clients never import Beam, so Beam's file systems (``gs://``, ``hdfs://`` …) come in through ``ClientOptions.model_files``:
``transforms.beam_files.BeamFiles``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

MOST_FILES = 100_000
"""Files below a model's folder at most: whoever names ``/`` is told so, instead of having the whole disk walked."""


class ModelFiles(Protocol):
    """A file system that models are read from. Hashable and picklable; called from any thread; may block."""

    def listing(self, folder: str) -> Mapping[str, int]:
        """Returns the size in bytes of every file below ``folder``, by its path relative to it; empty if there is none.

        Raises:
            OSError: It can't be read; the message says why.
            ConfigError: There is no file system of that kind here.
        """

    def copy(self, folder: str, target: Path) -> None:
        """Copies every file below ``folder`` into the existing local folder ``target``.

        Raises:
            OSError: It can't be read, or not be written.
        """


class LocalFiles:
    """This machine's disk. Models on it are loaded where they are, never copied."""

    def listing(self, folder: str) -> dict[str, int]:
        """See ``ModelFiles``. Follows links, since a version folder often is one."""
        base = Path(folder)
        found: dict[str, int] = {}
        for here, _, names in os.walk(base, onerror=_unless_absent, followlinks=True):
            for name in names:
                path = Path(here, name)
                try:
                    found[path.relative_to(base).as_posix()] = path.stat().st_size
                except FileNotFoundError:  # it is being moved or deleted
                    continue
            if len(found) > MOST_FILES:
                raise OSError(f"more than {MOST_FILES:,} files below {folder}: is it the folder of one model?")
        return found


def is_local(path: str) -> bool:
    """Whether a path is one of this machine's disk, and not of a file system with a scheme."""
    return "://" not in path


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
