"""``SavedModelClient``: a TensorFlow SavedModel that runs in this process, with the interface of a model server's client.

``uri.py`` describes the URI. TensorFlow is needed in the worker only, and only its C library, not the Python package
(``tf_runtime``).

Signatures, dtypes, errors and answers are those of TensorFlow Serving, because the same checks run here;
``tests/pipeline/embedded/test_agreement.py`` compares the two. One difference: a run can't be cancelled, it can only be
stopped at its time-out. A cancelled ``predict`` returns to its caller at once, and the result of the run is dropped.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.saved_model.loading import Loader
from transforms.clients.saved_model.shared import SharedModel
from transforms.clients.saved_model.store import STORE, ModelStore
from transforms.clients.saved_model.uri import SavedModelAddress
from transforms.clients.saved_model.uri import parse as parse_saved_model
from transforms.clients.tf_runtime.serving_error import ServingError
from transforms.clients.wire.outputs import OutputMatcher, check_results
from transforms.clients.wire.status_codes import from_grpc_code
from transforms.clients.wire.tensorflow.serving_texts import SERVING_RULES
from transforms.errors import MalformedAnswerError, OverloadedError, RejectedError, UnavailableError
from transforms.types import Answer, ModelMetadata, Signature

T = TypeVar("T")


def parse(uri: str) -> SavedModelAddress:
    """Parses a ``saved_model://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    return parse_saved_model(uri)


def open(uri: str, options: ClientOptions) -> SavedModelClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI is wrong.
    """
    return SavedModelClient(
        Loader(parse(uri), options.model_files), options.model_poll_s, outputs=tuple(sorted(options.outputs))
    )


class SavedModelClient(ModelClient):
    """A client of a SavedModel in this process.

    Args:
        loader: Finds and loads the versions of the model.
        poll_s: Seconds between two looks for another version. If several clients share a model, the first client's value is
            used.
        store: The models of this process.
        outputs: As ``ClientOptions.outputs``.
    """

    def __init__(self, loader: Loader, poll_s: float = 60.0, store: ModelStore = STORE, outputs: tuple[str, ...] = ()):
        self._loader, self._poll_s, self._store, self._outputs = loader, poll_s, store, outputs
        self._address = loader.address
        self._where = str(loader.address)
        self._key = (self._address.path, self._address.version, self._address.tags, loader.files)
        self._model: SharedModel | None = None
        self._signature: Signature | None = None
        self._matcher = OutputMatcher(self._where, outputs)
        self._waiting: set[asyncio.Future[Any]] = set()
        self._closed = False

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. Loads the model, unless it is in memory.

        If the time-out passes while the model is loading, the loading continues, and the next call waits for it.

        Raises:
            ConfigError: TensorFlow, or the file system of the path, is not installed.
        """
        model = self._shared()
        try:
            version, signature = await self._in_pool(functools.partial(model.prepare, self._address), timeout_s)
        except TimeoutError:
            raise UnavailableError(f"{self._where}: still loading after {timeout_s:g} s") from None
        self._signature = signature
        return ModelMetadata(self._address.model, version, signature)

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. Classify answers ``classes`` and ``scores``, Regress answers ``value``."""
        give_up_at = time.monotonic() + timeout_s
        model = self._shared()
        signature = self._signature or (await self.metadata(timeout_s)).signature
        try:
            answer = functools.partial(model.answer, signature, inputs, give_up_at, self._outputs)
            outputs, version = await self._in_pool(answer, give_up_at - time.monotonic())
        except TimeoutError:
            raise OverloadedError(f"{self._where}: DEADLINE_EXCEEDED: no answer in {timeout_s:g} s") from None
        except ServingError as error:
            raise from_grpc_code(self._where, error.code.name, error.message, rules=SERVING_RULES) from error
        except TypeError as error:
            raise RejectedError(f"{self._where}: {error}") from error
        except ValueError as error:
            raise MalformedAnswerError(f"{self._where}: the answer does not have the outputs asked for") from error
        if signature.takes_examples:
            return Answer(check_results(outputs, rows, self._where), version)
        self._matcher.signature = signature
        scalar_inputs = not any(array.ndim for array in inputs.values())
        return self._matcher.match(outputs, rows, scalar_inputs=scalar_inputs).answer(version)

    async def close(self) -> None:
        """Releases the model; requests in flight end with ``UnavailableError``."""
        self._closed = True
        for future in list(self._waiting):
            future.cancel()
        if self._model is not None:
            self._model = None
            self._store.release(self._key)

    def _shared(self) -> SharedModel:
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        if self._model is None:
            self._model = self._store.acquire(self._key, lambda: SharedModel(self._loader, self._poll_s))
        return self._model

    async def _in_pool(self, work: Callable[[], T], timeout_s: float) -> T:
        """Runs ``work`` in a thread of the pool. At the time-out or on cancellation it returns at once; ``work`` runs on.

        Raises:
            TimeoutError: ``work`` takes longer than ``timeout_s``.
            UnavailableError: The client was closed meanwhile.
        """
        future = asyncio.get_running_loop().run_in_executor(self._shared().pool, work)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and (task is None or not task.cancelling()):
                raise UnavailableError(f"{self._where}: the client was closed") from None  # cancelled by close()
            raise
