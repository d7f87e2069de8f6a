"""What the embedded model server serves, and where; needs no TensorFlow, so that flags can be read without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_S = 1.0
"""As TensorFlow Serving's ``file_system_poll_wait_seconds``."""


@dataclasses.dataclass(frozen=True, slots=True)
class ModelConfig:
    """The configuration of one model.

    Attributes:
        name: Its name in requests.
        path: The folder of its version folders.
        labels: Label to version; labelled versions are loaded in addition to the newest.
        all_versions: Load every version.
    """

    name: str
    path: Path
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    all_versions: bool = False

    def found(self) -> dict[int, Path]:
        """Returns every version folder that is there now."""
        try:
            entries = list(self.path.iterdir())
        except OSError:  # it is gone, or away for a moment
            return {}
        return {int(f.name): f for f in entries if f.name.isdecimal() and (f / "saved_model.pb").is_file()}

    def wanted(self, folders: Mapping[int, Path]) -> dict[int, Path]:
        """Returns those of the folders to serve, ascending: the newest one and those with a label, or all."""
        if not folders:
            return {}
        wanted = set(folders) if self.all_versions else {max(folders), *self.labels.values()}
        return {version: folders[version] for version in sorted(wanted.intersection(folders))}

    def version_folders(self) -> dict[int, Path]:
        """Returns the versions to load at the start, ascending.

        Raises:
            ValueError: There is no version, or a labelled version is missing; the message says what to do.
        """
        if not self.path.is_dir():
            raise ValueError(f"model {self.name}: there is no folder {self.path}")
        folders = self.found()
        if not folders:
            is_version = (self.path / "saved_model.pb").is_file()
            cure = (
                f"give the folder above it, {self.path.parent}" if is_version else f"expected {self.path}/1/saved_model.pb"
            )
            raise ValueError(f"model {self.name}: {self.path} has no version folder; {cure}")
        missing = {label: version for label, version in self.labels.items() if version not in folders}
        if missing:
            listed = ", ".join(map(str, sorted(folders)))
            raise ValueError(f"model {self.name}: labels {missing} name versions that are not there; it has {listed}")
        return self.wanted(folders)


@dataclasses.dataclass(frozen=True, slots=True)
class ServerConfig:
    """The configuration of the model server.

    Attributes:
        models: The models.
        grpc_port: 0 for a free one, ``None`` for no gRPC.
        rest_port: 0 for a free one, ``None`` for no REST.
        poll_s: Seconds between two looks for other versions; 0 for none after the start.
        tensor_content: Whether gRPC answers carry ``tensor_content`` rather than typed values. TensorFlow Serving can send
            both; its default is typed values.
    """

    models: Sequence[ModelConfig]
    grpc_port: int | None = 0
    rest_port: int | None = 0
    tensor_content: bool = False
    poll_s: float = POLL_S
