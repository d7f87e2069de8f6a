"""Models on disk, their loaded versions and their labels.

A model is a folder of version folders with numeric names (``digits/1/saved_model.pb``), the layout of TensorFlow Serving. By
default the newest version is served (TensorFlow Serving's ``latest: 1`` policy); a label is a name for a version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.embedded.server_config import ModelConfig
from transforms.clients.tf_runtime.meta_graph import signatures_of
from transforms.clients.tf_runtime.serving_error import Code, ServingError, invalid_argument
from transforms.clients.tf_runtime.session import TensorFlowSession

DEFAULT_SIGNATURE = "serving_default"


@dataclasses.dataclass(frozen=True, slots=True)
class Servable:
    """One loaded version of a model.

    Attributes:
        name: The model's name.
        version: Its version.
        session: The TensorFlow session.
        signatures: Signature name to ``tensorflow.SignatureDef``.
    """

    name: str
    version: int
    session: TensorFlowSession
    signatures: Mapping[str, Any]


class Models:
    """All loaded models. Read only after construction, so any thread may use it."""

    def __init__(self, configs: Sequence[ModelConfig]):
        """Loads every model.

        Raises:
            ValueError: A model has nothing to serve; see ``ModelConfig.version_folders``.
            ServingError: TensorFlow can't load a model; the message names it.
        """
        self._versions: dict[str, dict[int, Servable]] = {}
        self._labels = {config.name: dict(config.labels) for config in configs}
        for config in configs:
            loaded = self._versions.setdefault(config.name, {})
            for version, folder in config.version_folders().items():
                try:
                    session = TensorFlowSession(folder)
                except ServingError as error:
                    raise ServingError(error.code, f"model {config.name}: can't load {folder}: {error.message}") from error
                loaded[version] = Servable(config.name, version, session, signatures_of(session.meta_graph_def))

    @property
    def names(self) -> dict[str, list[int]]:
        """Model name to its loaded versions, ascending."""
        return {name: sorted(versions) for name, versions in self._versions.items()}

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

    def states(self, model_spec: Any) -> list[int]:
        """Returns the versions that a status request asks for, newest first as TensorFlow Serving lists them.

        Raises:
            ServingError: NOT_FOUND.
        """
        name = model_spec.name
        versions = self._versions.get(name, {})
        choice = model_spec.WhichOneof("version_choice")
        if choice == "version":
            version = model_spec.version.value
            if version not in versions:
                raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
            return [version]
        if not versions:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return sorted(versions, reverse=True)

    def close(self) -> None:
        """Frees all sessions; no request may be under way."""
        for versions in self._versions.values():
            for servable in versions.values():
                servable.session.close()
        self._versions.clear()
