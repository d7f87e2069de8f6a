"""A stub of a model in the worker: a folder of versions and a TensorFlow, neither of which there is. See ``StubServer``.

It stands where TensorFlow and the disk do, so that everything above them is what is tested: versions, signatures, errors,
time limits. It knows Predict only.

    with SavedModelStub() as stub:
        client = stub.client()
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import numpy as np

from transforms.clients.saved_model.client import SavedModelClient, parse
from transforms.clients.saved_model.loading import Loader
from transforms.clients.saved_model.store import ModelStore
from transforms.clients.tf_runtime.meta_graph import meta_graph_of
from transforms.clients.tf_runtime.serving_error import Code, ServingError
from transforms.testing.faults import StubError
from transforms.testing.signature_protos import signature_map
from transforms.testing.stub_model import check_inputs
from transforms.testing.stub_server import StubServer

_FILE = "saved_model.pb"
_NO_OUTPUTS = ("no_outputs", "malformed")


class SavedModelStub(StubServer):
    """One model in the worker with programmable faults. ``down`` makes its files unreadable; what is loaded stays loaded.

    Attributes:
        store: The models in memory; its ``poll`` looks for another version at once.
        loads: Versions that were loaded, in order.
        copies: Local folders that they were copied to.
        closed: Versions whose session was closed, in order.
        broken: Versions that can't be loaded.
        load_error: Raised instead of loading.
        hold_loading: While it is cleared, loading waits.
        loading: Set once something waits so.
        bytes_of_a_file: How large each file in the folder is.
        warm_up: Whether clients made from now on warm the model up.
    """

    _all: ClassVar[dict[int, SavedModelStub]] = {}

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.store = ModelStore(linger_s=0)
        self.loads: list[int] = []
        self.copies: list[Path] = []
        self.closed: list[int] = []
        self.broken: set[int] = set()
        self.load_error: BaseException | None = None
        self.hold_loading = threading.Event()
        self.hold_loading.set()
        self.loading = threading.Event()
        self.bytes_of_a_file = 1
        self.warm_up = False
        self._readable = False
        self._key = self.port
        self._all[self._key] = self
        self._runs: set[concurrent.futures.Future[Any]] = set()

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``. There are no labels."""
        asked = {"version": version, "signature": signature}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return f"saved_model://stub://{self.address}/{model or self.model.name}{query and '?'}{query}"

    @classmethod
    def of(cls, uri: str) -> SavedModelStub:
        """Returns the stub that a URI is of, by its port: whether or not it is up, or its host is a real one."""
        return cls._all[int(uri.partition("stub://")[2].partition("/")[0].rpartition(":")[2])]

    def client(self, uri: str | None = None, poll_s: float = 3600.0) -> SavedModelClient:
        """Makes a client of it."""
        loader = Loader(parse(uri or self.uri()), self, self.load, self.warm_up)
        return SavedModelClient(loader, poll_s, self.store)

    # ------------------------------------------------------------------ ModelFiles

    def listing(self, folder: str) -> Mapping[str, int]:
        """See ``ModelFiles``. A version that is loading has no model in its folder yet."""
        if not self._readable:
            raise OSError("injected fault: the folder can't be read")
        if folder.rpartition("/")[2] != self.model.name:
            return {}
        names = {"AVAILABLE": _FILE, "LOADING": "variables/variables.index"}
        states = self.model.versions.items()
        return {f"{version}/{names[state]}": self.bytes_of_a_file for version, state in states if state in names}

    def copy(self, folder: str, target: Path) -> None:
        """See ``ModelFiles``."""
        (target / _FILE).write_text(folder.rpartition("/")[2])
        self.copies.append(target)

    # ------------------------------------------------------------------ TensorFlow

    def load(self, folder: Path, tags: Sequence[str]) -> StubSession:
        """Loads a version; as ``saved_model_loading.load_session``."""
        version = int((folder / _FILE).read_text())
        if not self.hold_loading.is_set():
            self.loading.set()
            self.hold_loading.wait()
        self.loads.append(version)
        if self.load_error is not None:
            raise self.load_error
        if version in self.broken:
            raise ServingError(Code.DATA_LOSS, "injected fault: the variables are cut short")
        return StubSession(self, version)

    async def _start(self) -> None:
        self._readable = True

    async def _stop(self) -> None:
        self._readable = False

    def close(self) -> None:
        """See ``StubServer``. What still runs ends."""
        for run in list(self._runs):
            run.cancel()
        self._all.pop(self._key, None)
        super().close()

    def respond(self, function: Any, inputs: Mapping[str, np.ndarray], rows: int) -> concurrent.futures.Future[Any]:
        """Starts a run, with the faults programmed."""
        work = self._respond(function, inputs, rows, (), lambda: None)
        run = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return run


class StubSession:
    """What the stub loads: the signatures that its model has now.

    Attributes:
        meta_graph_def: As TensorFlow's.
    """

    def __init__(self, stub: SavedModelStub, version: int):
        self._stub, self._version = stub, version
        self._closed = False
        self._signatures = dict(stub.model.signatures)
        definitions = signature_map(stub.model)
        for name, definition in definitions.signature_def.items():
            for infos in (definition.inputs, definition.outputs):
                for alias in infos:
                    infos[alias].name = f"{name}/{alias}:0"  # one graph has the tensors of all signatures
        self.meta_graph_def = meta_graph_of(definitions)

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_s: float | None = None
    ) -> list[np.ndarray]:
        """As ``tf_runtime.session.TensorFlowSession``."""
        assert not self._closed, "a session was closed under a run"
        signature, function = self._signatures[fetches[0].partition("/")[0]]
        inputs = {_alias(name): array for name, array in feeds.items()}
        try:
            check_inputs(signature, inputs, lambda array: array.dtype.name.replace("object", "string"))
            rows = max((array.shape[0] if array.ndim else 1 for array in inputs.values()), default=1)
            run = self._stub.respond(function, inputs, rows)
            try:
                outputs, fault = run.result(timeout_s)
            except TimeoutError:
                run.cancel()
                raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification") from None
            except concurrent.futures.CancelledError:
                raise ServingError(Code.CANCELLED, "the stub was closed") from None
        except StubError as error:
            raise ServingError(Code[error.code], error.message) from error
        if fault is not None and fault.kind in _NO_OUTPUTS:
            return []
        return [np.asarray(outputs[_alias(name)]) for name in fetches]

    def close(self) -> None:
        """As ``tf_runtime.session.TensorFlowSession``."""
        self._closed = True
        self._stub.closed.append(self._version)


def _alias(tensor: str) -> str:
    return tensor.partition("/")[2].removesuffix(":0")
