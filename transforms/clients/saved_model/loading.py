"""``Loader``: finds and loads the versions of a SavedModel. It translates the errors of file systems and of TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from transforms.clients.model_files import LocalFiles, ModelFiles, is_local
from transforms.clients.registry import missing_packages
from transforms.clients.saved_model.copies import LocalCopy
from transforms.clients.saved_model.folders import VersionFolder, version_folders
from transforms.clients.saved_model.loaded import LoadedSession, LoadedVersion
from transforms.clients.saved_model.uri import SCHEME, SavedModelAddress
from transforms.clients.tf_runtime.serving_error import Code, ServingError
from transforms.clients.wire.status_codes import clean
from transforms.errors import ConfigError, ModelError, NotServedError, UnavailableError
from transforms.types import Signature

Load = Callable[[Path, Sequence[str]], LoadedSession]
"""Loads the graph with these tags from a local folder. Raises ``ServingError``, or ``ImportError`` without TensorFlow."""


def load_session(folder: Path, tags: Sequence[str]) -> LoadedSession:
    """Loads a graph with TensorFlow's C library, which is imported at the first call.

    Args:
        folder: A local folder with a ``saved_model.pb``.
        tags: The tags of the graph.

    Raises:
        ServingError: TensorFlow can't load it.
        ImportError: TensorFlow is not installed.
        ConfigError: The version of TensorFlow is not supported.
    """
    from transforms.clients.tf_runtime.library import library
    from transforms.clients.tf_runtime.quiet import quiet_log

    if not library.cache_info().currsize:
        with quiet_log():
            library()  # before the session's module, which imports ml_dtypes, a package that comes with TensorFlow
    from transforms.clients.tf_runtime.session import TensorFlowSession

    return TensorFlowSession(folder, tags)


@dataclasses.dataclass(frozen=True, slots=True)
class Loader:
    """Finds and loads the versions of one model. Its methods block.

    Attributes:
        address: The model and the tags of its graph.
        files: The file system for a path with a scheme; ``None`` for none.
        load: Loads a graph.
        warm_up: Whether to run a row of zeros before a version is used.
    """

    address: SavedModelAddress
    files: ModelFiles | None
    load: Load = load_session
    warm_up: bool = True

    def folders(self) -> list[VersionFolder]:
        """Returns the versions in the model's folder, the newest first.

        Raises:
            UnavailableError: The folder can't be read now.
            ConfigError: No file system for the path's scheme was given or is installed.
        """
        path = self.address.path
        try:
            listing = LocalFiles().listing(path) if is_local(path) else self._remote().listing(path)
        except OSError as error:
            raise UnavailableError(f"{self.address}: its files can't be read: {_reason(error)}") from error
        return version_folders(path, listing)

    def loaded(self, folder: VersionFolder) -> LoadedVersion:
        """Loads one version, from a local copy if its folder is remote.

        Args:
            folder: The folder of the version.

        Raises:
            NotServedError: The version can't be loaded.
            UnavailableError: The version can't be copied now, or there is not enough memory now.
            ConfigError: TensorFlow, or the file system of the path, is not installed.
        """
        copy = None
        try:
            if not is_local(folder.path):
                copy = LocalCopy(self._remote(), folder.path)
            session = self.load(copy.path if copy else Path(folder.path), self.address.tags)
            return LoadedVersion(folder.number, session, copy.remove if copy else None)
        except BaseException as error:
            if copy is not None:
                copy.remove()
            if isinstance(error, ImportError):
                raise missing_packages(f"{SCHEME}://{self.address.path}", SCHEME, error) from error
            if isinstance(error, MemoryError):
                raise UnavailableError(f"{self.address}: not enough memory to load {folder}") from error
            if isinstance(error, OSError):
                raise UnavailableError(f"{self.address}: {folder} can't be copied: {_reason(error)}") from error
            if isinstance(error, ServingError):
                raise self._not_loaded(f"{folder} can't be loaded", error) from error
            raise

    def warmed(self, version: LoadedVersion, signature: Signature) -> None:
        """Warms a version up for one signature.

        Args:
            version: The loaded version.
            signature: One of its signatures.

        Raises:
            NotServedError: The version can't be run.
            UnavailableError: The version can't be run now.
        """
        if not self.warm_up:
            return
        try:
            version.warm_up(signature)
        except ServingError as error:
            what = f"version {version.version or '(none)'} can't be run by signature {signature.name}"
            raise self._not_loaded(what, error) from error

    def _remote(self) -> ModelFiles:
        if self.files is None:
            scheme = self.address.path.partition("://")[0]
            cure = "pass ClientOptions(model_files=transforms.beam_files.BeamFiles())"
            raise ConfigError([f"--model: {self.address}: no file system for {scheme}:// was given; {cure}"])
        return self.files

    def _not_loaded(self, what: str, error: ServingError) -> ModelError:
        for_now = error.code in (Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED)
        kind = UnavailableError if for_now else NotServedError
        return kind(f"{self.address}: {what}: {error.code.name}: {clean(error.message)}")


def _reason(error: OSError) -> str:
    return error.strerror or clean(str(error)) or type(error).__name__
