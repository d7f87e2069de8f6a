"""A model client without a server, for tests of what lies above the clients: it does what the test says.

The URI ``fake://NAME`` finds the ``FakeModel`` that a test registered by ``serving``; DoFns are pickled, and names can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Mapping

import numpy as np

from transforms.clients import register_client, unregister_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.types import METHOD_PREDICT, Answer, ModelMetadata, Signature, TensorSpec


@dataclasses.dataclass(slots=True)
class Call:
    """One request that arrived.

    Attributes:
        number: From 0 on.
        inputs: As they were sent.
        rows: As they were announced.
    """

    number: int
    inputs: Mapping[str, np.ndarray]
    rows: int


Behaviour = Callable[[Call], Awaitable[Answer]]


def signature(shape: tuple[int, ...] | None = (-1, -1), dtype: str = "float32", **more: TensorSpec) -> Signature:
    """A signature of one input ``x`` and any others, and one output ``y``."""
    inputs = {"x": TensorSpec(dtype, shape), **more}
    return Signature("serving_default", METHOD_PREDICT, inputs, {"y": TensorSpec(dtype, shape)})


async def doubled(call: Call) -> Answer:
    """y = 2 * x, one row for each row; a scalar gives one row."""
    return Answer({"y": 2 * np.atleast_1d(call.inputs["x"])}, "7")


class FakeModel:
    """What a fake client talks to.

    Attributes:
        behaviour: Answers one request, or raises.
        calls: Requests that arrived.
        in_flight: Requests under way, and ``most_in_flight`` the highest.
        cancelled: Requests that were cancelled.
        metadata_calls: How often the metadata was asked for.
        asked_for_metadata: How many requests to the model each of these calls says to have cost.
        metadata_errors: What the next of these calls raise.
        closed: How many clients were closed.
    """

    def __init__(self, behaviour: Behaviour = doubled, served: Signature | None = None):
        self.behaviour = behaviour
        self.metadata = ModelMetadata("fake", "7", served or signature())
        self.calls: list[Call] = []
        self.metadata_errors: list[Exception] = []
        self.asked_for_metadata = 0
        self.in_flight = self.most_in_flight = self.cancelled = self.metadata_calls = self.closed = 0

    def client(self) -> ModelClient:
        """Makes a client."""
        return _FakeClient(self)


class _FakeClient(ModelClient):
    def __init__(self, model: FakeModel):
        self._model = model

    @property
    def metadata_requests(self) -> int:
        return self._model.asked_for_metadata * self._model.metadata_calls

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        self._model.metadata_calls += 1
        if self._model.metadata_errors:
            raise self._model.metadata_errors.pop(0)
        return self._model.metadata

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        model = self._model
        call = Call(len(model.calls), inputs, rows)
        model.calls.append(call)
        model.in_flight += 1
        model.most_in_flight = max(model.most_in_flight, model.in_flight)
        try:
            return await model.behaviour(call)
        except asyncio.CancelledError:
            model.cancelled += 1
            raise
        finally:
            model.in_flight -= 1

    async def close(self) -> None:
        self._model.closed += 1


_served: dict[str, FakeModel] = {}


@contextlib.contextmanager
def serving(model: FakeModel, name: str = "model") -> Iterator[str]:
    """Makes ``model`` what the URI that is yielded finds."""
    register_client("fake", __name__, replace=True)
    _served[name] = model
    try:
        yield f"fake://{name}"
    finally:
        del _served[name]
        if not _served:
            unregister_client("fake")


def parse(uri: str) -> None:
    """As every protocol's module: any URI is right."""


def open(uri: str, options: ClientOptions) -> ModelClient:
    """As every protocol's module."""
    return _served[uri.partition("://")[2]].client()
