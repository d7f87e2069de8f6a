"""``version_folders``: the versions of a model, from the listing of its folder. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from transforms.clients.saved_model.uri import version_number

_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")


@dataclasses.dataclass(frozen=True, slots=True)
class VersionFolder:
    """The folder of one version.

    Attributes:
        number: The version; ``None`` for a SavedModel in a folder whose name is not a number.
        path: The folder.
        files: Every file below it: relative path to size in bytes. A version that failed to load is tried again if they
            change.
    """

    number: int | None
    path: str
    files: Mapping[str, int]

    @property
    def complete(self) -> bool:
        """Whether the folder has a ``saved_model.pb``; a version that is still being written may have none yet."""
        return any(name in self.files for name in _MODEL_FILES)

    def __str__(self) -> str:
        return "the model" if self.number is None else f"version {self.number}"


def version_folders(path: str, listing: Mapping[str, int]) -> list[VersionFolder]:
    """Returns the versions below ``path``, the newest first; or one version, if ``path`` is itself a SavedModel.

    Args:
        path: The model's folder.
        listing: Relative path to size of every file below it.
    """
    if any(name in listing for name in _MODEL_FILES):
        return [VersionFolder(version_number(path.rpartition("/")[2]), path, listing)]
    files: dict[str, dict[str, int]] = {}
    for name, size in listing.items():
        folder, slash, rest = name.partition("/")
        if slash and version_number(folder) is not None:
            files.setdefault(folder, {})[rest] = size
    found = [VersionFolder(version_number(folder), f"{path}/{folder}", files[folder]) for folder in sorted(files)]
    return sorted(found, key=lambda version: version.number or 0, reverse=True)


def states_of(folders: Iterable[VersionFolder]) -> dict[int, str]:
    """Returns version to TensorFlow Serving's name of its state: AVAILABLE, or LOADING if it is still being written."""
    return {f.number: "AVAILABLE" if f.complete else "LOADING" for f in folders if f.number is not None}
