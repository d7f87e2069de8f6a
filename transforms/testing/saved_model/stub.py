"""``SavedModelStub``: replaces the model's files and TensorFlow under a ``saved_model://`` client. See ``StubServer``.

Everything above the file system and TensorFlow is real: versions, signatures, errors and time-outs. Only Predict is
supported.

    with SavedModelStub() as stub:
        client = stub.client()
"""

from __future__ import annotations

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
    """A SavedModel with programmable faults. ``down`` makes its files unreadable; a loaded version stays loaded.

    Attributes:
        store: The store of its clients. ``store.poll()`` looks for another version at once.
        loads: The versions that were loaded, in order.
        copies: The local folders into which versions were copied.
        closed: The versions whose session was closed, in order.
        broken: The versions that fail to load.
        load_error: If set, loading raises it.
        hold_loading: While this event is cleared, loading blocks.
        loading: Set when a load blocks on ``hold_loading``.
        bytes_of_a_file: The size of each file in the listing, in bytes.
        warm_up: Whether clients that are made from now on warm the model up.
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

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``. ``label`` is ignored: a SavedModel has no labels."""
        asked = {"version": version, "signature": signature}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return f"saved_model://stub://{self.address}/{model or self.model.name}{query and '?'}{query}"

    @classmethod
    def of(cls, uri: str) -> SavedModelStub:
        """Returns the stub with the port of ``uri``, up or down. The host of the URI is ignored.

        Raises:
            KeyError: No stub has that port.
        """
        return cls._all[int(uri.partition("stub://")[2].partition("/")[0].rpartition(":")[2])]

    def client(self, uri: str | None = None, poll_s: float = 3600.0, outputs: tuple[str, ...] = ()) -> SavedModelClient:
        """Returns a client of this stub.

        Args:
            uri: The model URI; the stub's own if ``None``.
            poll_s: Seconds between two looks for another version.
            outputs: As ``ClientOptions.outputs``.
        """
        loader = Loader(parse(uri or self.uri()), self, self.load, self.warm_up)
        return SavedModelClient(loader, poll_s, self.store, outputs)

    # ------------------------------------------------------------------ ModelFiles

    def listing(self, folder: str) -> Mapping[str, int]:
        """See ``ModelFiles``. The folder of a version in the state LOADING has no ``saved_model.pb`` yet."""
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
        """Loads a version from a copied folder; stands for ``saved_model.loading.load_session``."""
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
        """See ``StubServer``. Cancels the runs in progress; later ones are cancelled when they begin."""
        self._all.pop(self._key, None)
        super().close()

    def respond(self, function: Any, inputs: Mapping[str, np.ndarray], rows: int) -> concurrent.futures.Future[Any]:
        """Starts a run with the programmed faults.

        Args:
            function: The signature's function.
            inputs: Input name to array.
            rows: The number of rows.

        Returns:
            A future of the outputs and of the fault that applied, if any; it raises ``StubError`` for an error status, and
            is cancelled with the stub's end.
        """
        return self._submit(lambda: self._respond(function, inputs, rows, (), lambda: None))


class StubSession:
    """A loaded version of the stub, with the signatures that the model had when it was loaded.

    Args:
        stub: The stub.
        version: The version.

    Attributes:
        meta_graph_def: The serialized ``tensorflow.MetaGraphDef``.
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
        """See ``tf_runtime.session.TensorFlowSession.run``."""
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
        aliases = [_alias(name) for name in fetches]
        self._stub.outputs_asked = () if len(aliases) == len(signature.outputs) else tuple(aliases)
        return [np.asarray(outputs[alias]) for alias in aliases]

    def close(self) -> None:
        """See ``tf_runtime.session.TensorFlowSession.close``."""
        self._closed = True
        self._stub.closed.append(self._version)


def _alias(tensor: str) -> str:
    return tensor.partition("/")[2].removesuffix(":0")
