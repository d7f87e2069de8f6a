"""A job stops while requests wait for ``--rate_limit`` or ``--token_limit``: what was not asked for is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.fake_model import Call, FakeModel, doubled, serving
from tests.predict.test_dofn import chunk_of, offsets
from transforms.errors import (
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    TransientError,
    UnavailableError,
)
from transforms.guard import CHECK_S
from transforms.kafka.native.session_guard import HOLDING_DRAIN_S
from transforms.predict.batching import PendingChunk
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.leaving import Leaving, NotAskedError
from transforms.predict.options import DispatchOptions
from transforms.predict.pace import Pace, RateLimits
from transforms.retry import RetryPolicy
from transforms.types import Answer, AnsweredSegment, DecodedChunk, Failure, KafkaRecord, Segment

FOR_EVER = RateLimits(requests_per_s=1e-6)
"""The first request goes out at once, the next one after days."""


class Leaver:
    """Says that the job stops once the model was asked so often; keeps the offsets of what is left."""

    def __init__(self, model: FakeModel, after: int):
        self._model, self._after = model, after
        self.left: list[int] = []

    def stops(self) -> bool:
        return len(self._model.calls) >= self._after

    def leave(self, records: Iterable[KafkaRecord]) -> bool:
        assert not self.left, "once a bundle"
        self.left = [record.offset for record in records]
        return True


class Guard:
    """Makes the bundle void as ``SessionGuard`` does."""

    def __init__(self, leaver: Leaver):
        self._leaver, self._since = leaver, float("inf")

    def keep_alive(self, holding: bool = False) -> bool:
        """See ``BundleGuard.keep_alive``."""
        if self._leaver.stops():
            self._since = min(self._since, time.monotonic())
        return not holding or time.monotonic() - self._since <= HOLDING_DRAIN_S


Drive = Callable[..., tuple[PredictChunks, Leaver]]


@pytest.fixture
def drive(request: pytest.FixtureRequest) -> Iterator[Drive]:
    made: list[Any] = []
    name = request.node.name  # requests of one model share their pace

    def make(
        model: FakeModel, limits: RateLimits = FOR_EVER, after: int = 1, deadline_s: float = 60.0
    ) -> tuple[PredictChunks, Leaver]:
        context, leaver = serving(model, name), Leaver(model, after)
        options = DispatchOptions(retry=RetryPolicy(deadline_s), limits=limits)
        config = PredictConfig(context.__enter__(), model.metadata, dispatch=options, batch_max_size=2)
        fn = PredictChunks(config, Guard(leaver), CHECK_S / 10, leaver=leaver)
        fn.setup()
        made.append((fn, context))
        return fn, leaver

    yield make
    for fn, context in made:
        fn.teardown()
        context.__exit__(None, None, None)


def bundle(fn: PredictChunks, *chunks: DecodedChunk) -> list[list[int]]:
    fn.start_bundle()
    found = [predicted for chunk in chunks for predicted in fn.process(chunk)]
    return offsets(found + [windowed.value for windowed in fn.finish_bundle()])


@pytest.mark.parametrize("limits", [FOR_EVER, RateLimits(tokens_per_s=1e-6)], ids=["rate_limit", "token_limit"])
def test_what_was_asked_is_answered_and_the_rest_is_left(drive: Drive, limits: RateLimits) -> None:
    """They waited on, for ``--retry_deadline_s`` or without end, and all answers of the bundle were thrown away."""
    model = FakeModel()
    fn, leaver = drive(model, limits)
    began = time.monotonic()
    assert bundle(fn, chunk_of(*range(5)), chunk_of(5, 6, 7)) == [[0, 1]]
    assert leaver.left == [2, 3, 4, 5, 6, 7]
    assert len(model.calls) == 1
    assert time.monotonic() - began < 10


def test_while_reading_waits_for_the_limits(drive: Drive) -> None:
    """So many requests wait that no more is read until some are answered."""
    fn, leaver = drive(FakeModel())
    assert bundle(fn, *[chunk_of(*range(start, start + 100)) for start in range(0, 400, 100)]) == [[0, 1]]
    assert leaver.left == list(range(2, 400))


def test_a_request_that_was_sent_is_waited_for(drive: Drive) -> None:
    async def slowly(call: Call) -> Answer:
        await asyncio.sleep(CHECK_S)  # as many looks at whether the job stops
        return await doubled(call)

    fn, leaver = drive(FakeModel(slowly))
    assert bundle(fn, chunk_of(*range(6))) == [[0, 1]]
    assert leaver.left == [2, 3, 4, 5]


FAST = RateLimits(requests_per_s=1000)


@pytest.mark.parametrize("guilty", [1, 2])
def test_a_request_that_backs_off_is_left(drive: Drive, guilty: int) -> None:
    """It waited as long as the server had asked for, or the bundle was made void: what was answered was paid for in vain."""

    async def busy(call: Call) -> Answer:
        if call.inputs["x"][0, 0] == 2 * guilty:  # by its rows: requests may arrive in another order
            await asyncio.sleep(CHECK_S)  # the others are answered meanwhile: the server is not down
            raise OverloadedError("429", retry_after_s=8.0)
        return await doubled(call)

    model = FakeModel(busy)
    fn, leaver = drive(model, FAST, after=4)
    began = time.monotonic()
    assert bundle(fn, chunk_of(*range(8))) == [list(range(2 * guilty))]
    assert leaver.left == list(range(2 * guilty, 8)), "nothing behind it is committed"
    assert len(model.calls) == 4
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("kind", [UnavailableError, TransientError, ModelFailedError, OverloadedError, NotServedError])
def test_a_server_that_goes_down_before_the_stop(drive: Drive, kind: type[ModelError]) -> None:
    """The stop comes amid retries, probes, parts and trials of what failed."""

    async def goes_down(call: Call) -> Answer:
        if call.number:
            raise kind("down")
        return await doubled(call)

    fn, leaver = drive(FakeModel(goes_down), FAST, after=7)
    assert bundle(fn, chunk_of(*range(6))) == [[0, 1]]
    assert leaver.left == [2, 3, 4, 5]


def test_a_request_to_a_server_that_is_down_is_not_waited_for(drive: Drive) -> None:
    """The guard made the bundle void."""

    async def hangs(call: Call) -> Answer:
        if call.number in (1, 2):
            raise UnavailableError("down")
        if call.number:
            await asyncio.Event().wait()
        return await doubled(call)

    model = FakeModel(hangs)
    fn, leaver = drive(model, FAST, after=4, deadline_s=0.0)
    assert bundle(fn, chunk_of(*range(4))) == [[0, 1]]
    assert leaver.left == [2, 3]
    assert model.cancelled == 1


def test_without_limits_all_that_was_read_is_answered(drive: Drive) -> None:
    fn, leaver = drive(FakeModel(), RateLimits(), after=0)
    assert bundle(fn, chunk_of(*range(5)), chunk_of(5, 6, 7)) == [[0, 1, 2, 3, 4], [5, 6, 7]]
    assert leaver.left == []


def test_nothing_is_left_where_nothing_stops(drive: Drive) -> None:
    fn, leaver = drive(FakeModel(), RateLimits(requests_per_s=1000), after=100)
    assert bundle(fn, chunk_of(*range(5)), chunk_of(5, 6, 7)) == [[0, 1, 2, 3, 4], [5, 6, 7]]
    assert leaver.left == []


def test_a_turn_that_is_left_is_free_for_others() -> None:
    """Another dispatcher of the process goes on."""

    async def run() -> float:
        pace, leaving = Pace(RateLimits(requests_per_s=2)), Leaving()
        await pace.turn(1)
        waiting = [asyncio.ensure_future(pace.turn(1, leaving)) for _ in range(1000)]
        await asyncio.sleep(0)
        leaving.begin()
        for one in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(one, NotAskedError)
        with pytest.raises(NotAskedError):
            await pace.turn(1, leaving)
        return (await pace.turn(1))[0]

    assert 0 < asyncio.run(run()) < 2


def test_the_first_answered_rows_of_a_chunk() -> None:
    """Answers of two shapes, which come interleaved, and failures; nothing after the first row without a result."""
    records = [KafkaRecord("t", 0, row, None, None, b"", []) for row in range(8)]
    segments = [Segment("a", [0, 2, 4, 6], {}), Segment("b", [1, 5, 7], {})]
    pending = PendingChunk.of(DecodedChunk(records, segments, {3: Failure("decode", "X", "")}, [*"abcdefgh"], [b"c"] * 8))
    assert pending.first_answered().records == []
    outputs: dict[str, Any] = {"y": np.arange(3), "s": ["0", "2", "6"]}
    pending.chunk.answers.append(AnsweredSegment([0, 2, 6], outputs, "1", 1.0, 1, row_headers=[(("h", b"0"),), (), ()]))
    pending.chunk.answers.append(AnsweredSegment([1], {"y": [9]}, "1", 1.0, 1))
    pending.chunk.answers.append(AnsweredSegment([5], {"y": [9]}, "1", 1.0, 1))
    first = pending.first_answered()
    assert first.records == records[:4]
    assert (first.documents, first.carried, list(first.failures)) == ([*"abcd"], [b"c"] * 4, [3])
    assert [list(answer.rows) for answer in first.answers] == [[0, 2], [1]]
    assert list(first.answers[0].outputs["y"]) == [0, 1]
    assert list(first.answers[0].outputs["s"]) == ["0", "2"]
    assert first.answers[0].row_headers == [(("h", b"0"),), ()]
