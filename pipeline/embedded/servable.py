"""Models on disk, their loaded versions and their labels.

A model is a folder of version folders with numeric names (``digits/1/saved_model.pb``), the layout of TensorFlow Serving. By
default the newest version is served (TensorFlow Serving's ``latest: 1`` policy); a label is a name for a version. Versions
that are put there or taken away while the server runs are followed.

Source: tensorflow_serving/core/availability_preserving_policy.cc; sources/storage_path/file_system_storage_path_source.cc.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.embedded.server_config import ModelConfig
from transforms.clients.tf_runtime.meta_graph import signatures_of
from transforms.clients.tf_runtime.serving_error import Code, ServingError, invalid_argument
from transforms.clients.tf_runtime.session import TensorFlowSession

DEFAULT_SIGNATURE = "serving_default"

LOADING, AVAILABLE, END = 20, 30, 50
"""States of a version. Source: tensorflow_serving/apis/get_model_status.proto."""


@dataclasses.dataclass(frozen=True, slots=True)
class Servable:
    """One loaded version of a model.

    Attributes:
        name: The model's name.
        version: Its version.
        session: The TensorFlow session. It is freed after the last request that has it.
        signatures: Signature name to ``tensorflow.SignatureDef``.
    """

    name: str
    version: int
    session: TensorFlowSession
    signatures: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class VersionState:
    """What a status request is told of a version.

    Attributes:
        version: The version.
        state: ``LOADING``, ``AVAILABLE`` or ``END``.
        error: Why it could not be loaded.
    """

    version: int
    state: int
    error: ServingError | None = None


_Files = tuple[tuple[str, int, int], ...]


def load(name: str, version: int, folder: Path) -> Servable:
    """Loads a version. Raises ``ServingError`` if TensorFlow can't; the message names the model."""
    try:
        session = TensorFlowSession(folder)
    except ServingError as error:
        raise ServingError(error.code, f"model {name}: can't load {folder}: {error.message}") from error
    return Servable(name, version, session, signatures_of(session.meta_graph_def))


class Models:
    """All loaded models. Any thread may ask it, while one thread at a time calls ``refresh``.

    Args:
        configs: The models.
        load: Loads a version.
        say: Is told what ``refresh`` has done, a line at a time.

    Raises:
        ValueError: A model has nothing to serve; see ``ModelConfig.version_folders``.
        ServingError: TensorFlow can't load a model; the message names it.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        load: Callable[[str, int, Path], Servable] = load,
        say: Callable[[str], None] = lambda line: None,
    ):
        self._configs, self._load, self._say = configs, load, say
        # Each is replaced as a whole, never changed: a concurrent reader sees either the old or the new one.
        self._versions: dict[str, dict[int, Servable]] = {}
        self._others: dict[str, dict[int, VersionState]] = {}
        self._seen: dict[tuple[str, int], _Files] = {}
        self._failed: dict[tuple[str, int], _Files] = {}
        self._labels = {config.name: dict(config.labels) for config in configs}
        for config in configs:
            folders = config.version_folders().items()
            self._versions[config.name] = {version: load(config.name, version, folder) for version, folder in folders}

    @property
    def names(self) -> dict[str, list[int]]:
        """Model name to its loaded versions, ascending."""
        return {name: sorted(versions) for name, versions in self._versions.items()}

    def refresh(self) -> None:
        """Looks once at the folders, and loads and unloads what has changed. Blocks.

        A version is loaded when two looks in a row find the same files: then the copy is complete. A version that can't be
        loaded is tried again when its files change. The old versions are kept until a new one is loaded; but if no folder
        is left, nothing is served.
        """
        for config in self._configs:
            self._refresh(config)

    def _refresh(self, config: ModelConfig) -> None:
        name, wanted = config.name, config.wanted(config.found())
        loaded = self._versions[name]
        available = {version: loaded[version] for version in wanted if version in loaded}
        for version, folder in wanted.items():
            if version not in loaded and self._is_still(name, version, folder):
                taken = self._try(name, version, folder)
                if taken is not None:
                    available[version] = taken
        if wanted and not available:
            return
        gone = loaded.keys() - available.keys()
        if gone or available.keys() - loaded.keys():
            self._versions = self._versions | {name: available}
            for version in gone:
                self._tell(name, VersionState(version, END))
                self._seen.pop((name, version), None)
            served = ", ".join(map(str, sorted(available))) or "nothing"
            self._say(f"model {name}: serves {served}" + (f"; unloaded {', '.join(map(str, sorted(gone)))}" if gone else ""))

    def _is_still(self, name: str, version: int, folder: Path) -> bool:
        """Whether the files are those of the look before, and not those that could not be loaded."""
        key, files = (name, version), _files(folder)
        before = self._seen.get(key)
        self._seen[key] = files
        return before == files and self._failed.get(key) != files

    def _try(self, name: str, version: int, folder: Path) -> Servable | None:
        self._tell(name, VersionState(version, LOADING))
        try:
            servable = self._load(name, version, folder)
        except ServingError as error:
            self._failed[name, version] = self._seen[name, version]
            self._tell(name, VersionState(version, END, error))
            self._say(f"{error.message}; it is tried again when its files change")
            return None
        others = self._others[name]
        self._others = self._others | {name: {v: state for v, state in others.items() if v != version}}
        return servable

    def _tell(self, name: str, state: VersionState) -> None:
        self._others = self._others | {name: self._others.get(name, {}) | {state.version: state}}

    def find(self, model_spec: Any) -> Servable:
        """Returns the version that a ``ModelSpec`` asks for; the newest if it does not name one.

        Raises:
            ServingError: NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for an unknown label or no name.
        """
        name = model_spec.name
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        versions = self._versions.get(name, {})
        choice = model_spec.WhichOneof("version_choice")
        if choice == "version_label":
            wanted = self._labels.get(name, {}).get(model_spec.version_label)
            if wanted is None:
                raise invalid_argument(f"Unrecognized servable version label: {model_spec.version_label}")
        elif choice == "version":
            wanted = model_spec.version.value
        else:
            wanted = max(versions, default=-1)
        if wanted in versions:
            return versions[wanted]
        asked = f"Specific({name}, {wanted})" if choice else f"Latest({name})"
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")

    def states(self, model_spec: Any) -> list[VersionState]:
        """Returns the versions that a status request asks for, newest first as TensorFlow Serving lists them.

        Raises:
            ServingError: NOT_FOUND.
        """
        name = model_spec.name
        known = dict(self._others.get(name, {}))
        known |= {version: VersionState(version, AVAILABLE) for version in self._versions.get(name, {})}
        choice = model_spec.WhichOneof("version_choice")
        if choice == "version":
            version = model_spec.version.value
            if version not in known:
                raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
            return [known[version]]
        if not known:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return [known[version] for version in sorted(known, reverse=True)]

    def close(self) -> None:
        """Frees all sessions; no request may be under way."""
        for versions in self._versions.values():
            for servable in versions.values():
                servable.session.close()
        self._versions = {}


def _files(folder: Path) -> _Files:
    """Path, size and time of change of each file; what vanishes meanwhile is left out."""
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return tuple(found)
