"""What the tests of the dispatcher share: a clock that only sleeping moves, an observer, and scripted behaviour."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from tests.fake_model import Behaviour, Call, FakeModel, doubled
from transforms.errors import (
    ModelError,
)
from transforms.observe import Observer, failure_kind, observer, set_observer
from transforms.predict.batching import RowsResult
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.types import Answer, Tokens

T = TypeVar("T")
POISON = 666.0


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.now > 20_000:
            raise RuntimeError("it would wait for ever")
        await asyncio.sleep(0)


class Highest(random.Random):
    """Jitter that always draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Recorder(Observer):
    def __init__(self) -> None:
        self.retries = 0
        self.answers: list[int] = []
        self.held: list[str | None] = []
        self.failures: list[str] = []
        self.in_flight: list[int] = []
        self.tokens: list[Tokens] = []

    def counted_tokens(self, tokens: Tokens) -> None:
        self.tokens.append(tokens)

    def answered(self, rows: int, took_s: float, version: str | None) -> None:
        self.answers.append(rows)

    def request_failed(self, error: ModelError) -> None:
        self.failures.append(failure_kind(error))

    def requesting(self, in_flight: int, limit: int) -> None:
        assert in_flight <= limit
        self.in_flight.append(in_flight)

    def retried(self) -> None:
        self.retries += 1

    def holding(self, reason: str | None) -> None:
        self.held.append(reason)


@contextlib.contextmanager
def recording() -> Iterator[Recorder]:
    """What the dispatcher tells meanwhile."""
    before, recorder = observer(), Recorder()
    set_observer(recorder)
    try:
        yield recorder
    finally:
        set_observer(before)


def dispatcher(
    model: FakeModel,
    time: Time | None = None,
    *,
    deadline_s: float = 60.0,
    on_unavailable: str = "hold",
    max_in_flight: int | None = None,
    others: FakeModel | None = None,
    renews: bool = False,
) -> Dispatcher:
    """A dispatcher of ``model``; its other connections, for probes and the like, lead to ``others`` if there is one."""
    time = time or Time()
    options = DispatchOptions(30.0, RetryPolicy(deadline_s), on_unavailable, max_in_flight)
    another = None if others is None else others.client
    signature = model.metadata.signature
    return Dispatcher(model.client(), signature, options, time, time.sleep, Highest(), another, renews)


def run(work: Coroutine[Any, Any, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(20):
            return await work

    return asyncio.run(limited())


def x_of(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array([[value] for value in values], np.float32)}


def failing(errors: Sequence[Exception], then: Behaviour = doubled) -> Behaviour:
    """The first requests fail with these."""

    async def behave(call: Call) -> Answer:
        if call.number < len(errors):
            raise errors[call.number]
        return await then(call)

    return behave


def again(error: ModelError) -> ModelError:
    """The same error once more, with what the server said of it."""
    copy = type(error)(*error.args)
    copy.said = error.said
    return copy


def says(kind: type[ModelError], text: str) -> ModelError:
    """An error as a client makes it of what a server said."""
    error = kind(f"INTERNAL: {text}")
    error.said = text
    return error


def refusing(guilty: Callable[[np.ndarray], Any], error: ModelError) -> Behaviour:
    """A request with a guilty row fails."""

    async def behave(call: Call) -> Answer:
        if np.any(guilty(call.inputs["x"])):
            raise again(error)
        return await doubled(call)

    return behave


def by_row(results: list[RowsResult], rows: int) -> list[Any]:
    """Each row's output, or the error class of its failure; every row exactly once."""
    found: dict[int, Any] = {}
    for result in results:
        assert (result.outputs is None) != (result.failure is None)
        for i in range(result.rows):
            row = result.start + i
            assert row not in found
            if result.failure is not None:
                assert result.failure.stage == "predict"
                found[row] = result.failure.error_class
            else:
                assert result.outputs is not None
                assert all(len(values) == result.rows for values in result.outputs.values())
                found[row] = float(np.ravel(np.asarray(result.outputs["y"][i]))[0])
    assert sorted(found) == list(range(rows))
    return [found[row] for row in range(rows)]
