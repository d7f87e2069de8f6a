"""``SharedModel``: a SavedModel in memory, shared by all clients of this process, and the polling for newer versions."""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from transforms.clients.saved_model.folders import VersionFolder, states_of
from transforms.clients.saved_model.loaded import LoadedVersion
from transforms.clients.saved_model.loading import Loader
from transforms.clients.saved_model.uri import SavedModelAddress
from transforms.clients.tf_runtime.serving_error import Code, ServingError
from transforms.clients.wire.outputs import Outputs
from transforms.clients.wire.tensorflow.signature import choose, explain_versions
from transforms.errors import ConfigError, ModelError, NotServedError, UnavailableError
from transforms.types import Signature

_log = logging.getLogger(__name__)

THREADS = 2 * (os.cpu_count() or 1) + 2
"""Concurrent requests per model. TensorFlow computes in threads of its own; these threads only wait, without the GIL."""


class SharedModel:
    """A model in this process. Safe to use from any thread.

    ``prepare``, ``answer`` and ``poll`` block: call them in ``pool``.

    Args:
        loader: Finds and loads the versions of the model.
        poll_s: Seconds between two looks for another version.

    Attributes:
        pool: The threads in which the blocking methods are called.
    """

    def __init__(self, loader: Loader, poll_s: float):
        self._loader, self._poll_s = loader, poll_s
        self._where = str(loader.address)
        self._state = threading.Lock()
        self._loading = threading.Lock()  # held while a version is found and loaded, which may take minutes
        self._current: LoadedVersion | None = None
        self._promised: dict[str, Signature] = {}
        self._refused: dict[int | None, tuple[Mapping[str, int], ModelError]] = {}
        self._unreadable = ""
        self._closed = threading.Event()
        self._poller: threading.Thread | None = None
        self.pool = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="saved_model")

    def prepare(self, address: SavedModelAddress) -> tuple[str, Signature]:
        """Loads the model if it is not loaded, chooses the signature that ``address`` names, and warms the model up.

        From then on, a newer version is used only if its signature of that name is the same.

        Args:
            address: The model's address, with the signature asked for.

        Returns:
            The version in use (empty if it has no number), and the signature.

        Raises:
            NotServedError: The model, version or signature does not exist, or the model can't be loaded.
            UnavailableError: The files can't be read now, or are not complete yet.
            ConfigError: TensorFlow, or the file system of the path, is not installed.
        """
        version = self._current
        if version is not None:
            signature = choose(version.published, address)
            if signature.name in self._promised:  # ready: do not wait for a newer version that may be loading for minutes
                return version.version, signature
        with self._loading:
            version = self._current
            if version is None:
                version = self._first()
                self._take(version)
            signature = choose(version.published, address)
            self._loader.warmed(version, signature)
            self._promised[signature.name] = signature
            if self._poller is None and address.version is None:
                self._poller = threading.Thread(target=self._watch, name="saved_model_poll", daemon=True)
                self._poller.start()
            return version.version, signature

    def answer(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        give_up_at: float,
        outputs: Sequence[str] = (),
    ) -> tuple[Outputs, str]:
        """Runs one request.

        Args:
            signature: The signature that ``prepare`` returned.
            inputs: Input name to an array of shape ``[rows, …]``.
            give_up_at: When the run is stopped, in seconds of ``time.monotonic``.
            outputs: Names of the outputs to compute; none: all.

        Returns:
            The outputs, and the version that computed them.

        Raises:
            ServingError: The run failed; code and message are those of TensorFlow Serving.
            UnavailableError: The model was closed.
        """
        version = self._entered()
        try:
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                raise ServingError(Code.DEADLINE_EXCEEDED, "no thread was free in time")
            return version.run(signature, inputs, left_s, outputs), version.version
        finally:
            version.leave()

    def poll(self) -> None:
        """Looks once for another version, and switches to it if it can be loaded.

        That is a newer version, or, if the folder of the current version was removed, the newest one left. If the folder
        can't be read, the current version stays in use, and a warning is logged.
        """
        with self._loading:
            current = self._current
            if current is None:
                return
            try:
                folders = self._loader.folders()
            except (ModelError, ConfigError) as error:
                if str(error) != self._unreadable:
                    self._unreadable = str(error)
                    _log.warning("%s; version %s goes on answering", error, current.version or "(none)")
                return
            self._unreadable = ""
            newer = itertools.takewhile(lambda folder: folder.number != current.number, folders)
            taken = self._newest(newer)
            if taken is not None:
                self._take(taken)

    def close(self) -> None:
        """Unloads the model after its last request. May be called twice."""
        with self._state:
            self._closed.set()
            current, self._current = self._current, None
        if current is not None:
            current.retire()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _watch(self) -> None:
        while not self._closed.wait(self._poll_s):
            try:
                self.poll()
            except Exception:  # noqa: BLE001  # a thread that ended silently would never find a new version
                _log.exception("%s: looking for another version failed; it is tried again", self._where)

    def _entered(self) -> LoadedVersion:
        while True:
            version = self._current
            if version is None:
                raise UnavailableError(f"{self._where}: the model was let go")
            if version.enter():
                return version

    def _first(self) -> LoadedVersion:
        """Loads the newest version that can be loaded.

        It may be an older one: a process that had loaded it before would also stay with it.
        """
        asked = self._loader.address.version
        folders = self._loader.folders()
        complete = [f for f in folders if f.complete and asked in (None, f.number)]
        if not complete:
            raise self._absent(folders)
        taken = self._newest(complete)
        if taken is None:
            raise self._refused[complete[0].number][1]
        return taken

    def _absent(self, folders: list[VersionFolder]) -> ModelError:
        address = self._loader.address
        problem = "holds no such version" if folders else "is no folder of a model"
        expected = f"expected {address.path}/{address.version or 1}/saved_model.pb"
        error = NotServedError(f"{self._where}: the path {problem}; {expected}")
        return explain_versions(error, address, states_of(folders))

    def _newest(self, folders: Iterable[VersionFolder]) -> LoadedVersion | None:
        """Loads the first version that can be used; ``None`` if there is none.

        Each error is logged once. A version that can't be loaded for good is tried again only after its files have changed.
        """
        refused = []
        taken = None
        for folder in folders:
            files, error = self._refused.get(folder.number, (None, None))
            if not folder.complete or (files == folder.files and isinstance(error, NotServedError)):
                continue
            try:
                taken = self._checked(folder)
                break
            except ModelError as new_error:
                self._refused[folder.number] = folder.files, new_error
                if str(error) != str(new_error):
                    refused.append(new_error)
        if taken is not None or self._current is not None:
            for reason in refused:
                _log.warning("not taken: %s", reason)
        return taken

    def _checked(self, folder: VersionFolder) -> LoadedVersion:
        version = self._loader.loaded(folder)
        try:
            for name, promised in self._promised.items():
                if version.published.get(name) != promised:
                    raise NotServedError(
                        f"{self._where}: {folder} has another signature {name} than this job was started with; "
                        "start it anew to use it"
                    )
                self._loader.warmed(version, promised)
        except BaseException:
            version.retire()
            raise
        return version

    def _take(self, version: LoadedVersion) -> None:
        """Makes ``version`` the current one, and retires the one before it.

        Raises:
            UnavailableError: The model was closed meanwhile.
        """
        with self._state:
            closed = self._closed.is_set()
            old = self._current
            if not closed:
                self._current = version
        if closed:
            version.retire()
            raise UnavailableError(f"{self._where}: the client is closed")
        if old is not None:
            old.retire()
            _log.info("%s: version %s answers now", self._where, version.version)
