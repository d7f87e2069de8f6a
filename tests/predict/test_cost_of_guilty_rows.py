"""What guilty rows cost: requests are counted, and nothing waits. ``g`` guilty rows of ``n`` cost O(g log n) requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

import numpy as np
import pytest

from tests.dispatching import Highest, Recorder, Time, by_row, dispatcher, recording, refusing, run, says, x_of
from tests.fake_model import Call, FakeModel, doubled, signature
from transforms.answer_body import RAISE_LIMIT
from transforms.clients.base import ModelClient
from transforms.errors import (
    AnswerTooLargeError,
    BatchTooLargeError,
    MalformedAnswerError,
    ModelError,
    ModelFailedError,
    RejectedError,
    RequestTooLargeError,
    TransientError,
    UnavailableError,
)
from transforms.predict.batching import RowsResult
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.types import Answer, ModelMetadata

RECORDS, BATCH, GUILTY = 1000, 50, 10
VALUES = [float(value) for value in range(1, RECORDS + 1)]
POISON = set(random.Random(7).sample(VALUES, GUILTY))
CLEAN = RECORDS // BATCH
BISECTION = GUILTY * 2 * BATCH.bit_length()
"""At most two requests a level for each guilty row."""


async def ask_all(asked: Dispatcher) -> list[object]:
    """All records in batches, side by side; each one's output or error class."""
    batches = [VALUES[at : at + BATCH] for at in range(0, RECORDS, BATCH)]
    results = await asyncio.gather(*(asked.answer(x_of(*batch), len(batch)) for batch in batches))
    return [row for batch, result in zip(batches, results, strict=True) for row in by_row(result, len(batch))]


def expected(error_class: str) -> list[object]:
    return [error_class if value in POISON else 2 * value for value in VALUES]


@pytest.mark.parametrize(
    ("error", "error_class", "repeated"),
    [
        (RejectedError("INVALID_ARGUMENT: bad row"), "Rejected", 0),
        (MalformedAnswerError("3 rows for 4"), "MalformedAnswer", 0),
        (TransientError("INTERNAL: failed"), "ServerError", 8),
        (TransientError("HTTP 500: Internal Server Error"), "ServerError", 8),
        (ModelFailedError("UNKNOWN: Exception calling application: x"), "ServerError", 8),
    ],
)
def test_one_percent_of_guilty_rows(error: ModelError, error_class: str, repeated: int) -> None:
    """Nothing waits. A row that fails is asked for alone a few times more, which a refusal does not need."""
    time, refuse = Time(), refusing(lambda x: np.isin(x, list(POISON)), error)

    async def behave(call: Call) -> Answer:
        await asyncio.sleep(0)  # requests overlap
        return await refuse(call)

    model, others = FakeModel(behave), FakeModel(behave)
    with recording() as heard:
        found = run(ask_all(dispatcher(model, time, others=others)))
    assert found == expected(error_class)
    assert time.slept == []
    assert heard.held == []
    assert len(model.calls) <= CLEAN + BISECTION + GUILTY * repeated
    assert len(others.calls) <= 20, "probes: few in all"


WELL_KNOWN = 120
"""After so many answers a server is known to be reliable, so that two strikes are enough."""


@pytest.mark.parametrize(
    ("error", "error_class", "verdict"),
    [
        (RejectedError("INVALID_ARGUMENT: bad row"), "Rejected", 1),
        (MalformedAnswerError("3 rows for 4"), "MalformedAnswer", 1),
        (TransientError("INTERNAL: failed"), "ServerError", 2),
        (ModelFailedError("UNKNOWN: Exception calling application: x"), "ServerError", 2),
        (UnavailableError("UNAVAILABLE: the worker died"), "ServerError", 4),
    ],
)
def test_requests_for_g_guilty_rows_of_n(error: ModelError, error_class: str, verdict: int) -> None:
    """One costs log2(n) + 1 requests and its verdict; several at most twice that each. Nothing waits, whoever is alone."""
    rows, levels = 64, 6
    sets = [{at} for at in (0, 31, 32, 63)]
    sets += [set(random.Random(guilty).sample(range(rows), guilty)) for guilty in (2, 5, 20)]
    poison: set[float] = set()
    behave = refusing(lambda x: np.isin(x, list(poison)), error)
    model, others, time = FakeModel(behave), FakeModel(behave), Time()
    values = [float(row + 2) for row in range(rows)]

    async def work() -> None:
        asked = dispatcher(model, time, others=others)
        for _ in range(WELL_KNOWN):
            await asked.answer(x_of(1), 1)
        for guilty in [*sets, set(range(rows))]:
            poison.clear()
            poison.update(values[row] for row in guilty)
            model.calls.clear()
            others.calls.clear()
            results = await asked.answer(x_of(*values), rows)
            assert by_row(results, rows) == [error_class if row in guilty else 2 * values[row] for row in range(rows)]
            one = levels + 2
            several = min(2 * len(guilty) * (levels + 1), 2 * rows) + levels
            probes = 2 if error_class != "ServerError" else levels + 2 + 3 * len(guilty)
            most = (one if len(guilty) == 1 else several) + verdict * len(guilty) + probes
            assert len(model.calls) + len(others.calls) <= most, f"{len(guilty)} guilty rows"
            if error_class == "Rejected":  # the calls to others are probes
                for result in results:
                    for row in range(result.start, result.start + result.rows):
                        assert result.attempts == sum(bool(np.isin(values[row], call.inputs["x"])) for call in model.calls)

    with recording() as heard:
        run(work())
    assert (time.slept, heard.held) == ([], [])


@pytest.mark.parametrize(
    ("error", "requests"),
    [
        (RejectedError("INVALID_ARGUMENT: bad row"), 2035),
        (TransientError("INTERNAL: failed"), 2204),
        (UnavailableError("UNAVAILABLE: the worker died"), 2322),
    ],
)
def test_requests_with_one_percent_of_guilty_rows_among_many_batches(error: ModelError, requests: int) -> None:
    """The figures of docs/reference/speed.md, which is to be changed with them."""
    values = [float(value) for value in range(1, 20_001)]
    poison = np.array([value for value in values if value % 100 == 50], np.float32)
    refuse = refusing(lambda x: np.isin(x, poison), error)

    async def behave(call: Call) -> Answer:
        await asyncio.sleep(0)  # requests overlap
        return await refuse(call)

    async def work(asked: Dispatcher) -> list[object]:
        ahead = asyncio.Semaphore(64)

        async def answer(batch: list[float]) -> list[object]:
            async with ahead:
                return by_row(await asked.answer(x_of(*batch), len(batch)), len(batch))

        found = await asyncio.gather(*(answer(values[at : at + 64]) for at in range(0, len(values), 64)))
        return [row for rows in found for row in rows]

    model, others, time = FakeModel(behave), FakeModel(behave), Time()
    found = asyncio.run(work(dispatcher(model, time, others=others)))
    assert [value for value, row in zip(values, found, strict=True) if isinstance(row, str)] == poison.tolist()
    assert time.slept == []
    assert len(model.calls) + len(others.calls) <= requests


def test_guilty_rows_of_a_slow_server_hold_no_other_up() -> None:
    """Trials show what they fail of; from then on only a sample is asked for with all other requests paused."""
    values = [float(value) for value in range(1, 20_001)]
    poison = np.array([value for value in values if value % 100 == 50], np.float32)
    refuse, time, alone = refusing(lambda x: np.isin(x, poison), says(TransientError, "failed")), Time(), list[float]()

    async def behave(call: Call) -> Answer:
        time.now += 0.02
        for _ in range(3):
            await asyncio.sleep(0)
        if model.in_flight == 1:
            alone.append(float(call.inputs["x"][0, 0]))
        return await refuse(call)

    async def work() -> list[object]:
        asked, ahead = dispatcher(model, time, max_in_flight=64), asyncio.Semaphore(64)

        async def answer(batch: list[float]) -> list[object]:
            async with ahead:
                return by_row(await asked.answer(x_of(*batch), len(batch)), len(batch))

        found = await asyncio.gather(*(answer(values[at : at + 64]) for at in range(0, len(values), 64)))
        return [row for rows in found for row in rows]

    model = FakeModel(behave)
    found = asyncio.run(work())
    assert [value for value, row in zip(values, found, strict=True) if isinstance(row, str)] == poison.tolist()
    tried = {value for value in alone if value % 100 == 50}
    assert 8 <= len(tried) <= 60, "of 200"
    assert len(model.calls) <= 3191, "of 313 with no guilty row; docs/reference/speed.md is to be changed with it"


class Server:
    """Cuts the connection of a request with a guilty row, and with it whatever else is in flight on that connection.

    Args:
        late: Whether a client finds out that a connection was cut by the next request on it, which fails.

    Attributes:
        requests: How many arrived, and ``cut`` how many of them were cut; ``lost`` did not arrive, being late.
    """

    def __init__(self, late: bool = False) -> None:
        self.late = late
        self.requests = self.cut = self.lost = 0

    def client(self) -> ModelClient:
        return Connection(self)


class Connection(ModelClient):
    def __init__(self, server: Server):
        self._server = server
        self._in_flight: set[asyncio.Future[None]] = set()
        self._late_until = 0

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        return ModelMetadata("fake", "7", signature())

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        self._server.requests += 1
        if self._server.requests <= self._late_until:
            self._server.lost += 1
            raise UnavailableError("broken pipe")
        done = asyncio.get_running_loop().create_future()
        self._in_flight.add(done)
        asyncio.get_running_loop().call_soon(self._serve, done, bool(np.isin(inputs["x"], list(POISON)).any()))
        try:
            await done
        finally:
            self._in_flight.discard(done)
        return Answer({"y": 2 * inputs["x"]}, "7")

    def _serve(self, done: asyncio.Future[None], guilty: bool) -> None:
        if guilty and self._server.late:
            self._late_until = self._server.requests + 1
        for future in list(self._in_flight) if guilty else [done]:
            if not future.done():
                self._server.cut += guilty
                future.set_exception(UnavailableError("connection reset")) if guilty else future.set_result(None)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("late", [False, True])
def test_guilty_rows_that_cut_the_connection(late: bool) -> None:
    """They are asked for on connections of their own, and so are those that were cut with them: those are answered there.

    No request goes to a connection that was just cut: the client may not know it yet.
    """
    server, time = Server(late), Time()
    asked = Dispatcher(
        server.client(), signature(), DispatchOptions(), time, time.sleep, Highest(), open_another=server.client
    )
    with recording() as heard:
        assert run(ask_all(asked)) == expected("ServerError")
    assert time.slept == []
    assert heard.held == []
    assert server.requests <= 2 * CLEAN + BISECTION + GUILTY * 10, f"{server.requests} requests, {server.cut} were cut"
    assert server.lost <= 2


# ---------------------------------------------------------------------- limits


@pytest.mark.parametrize("named", [True, False])
def test_a_limit_of_rows_is_learnt_once(named: bool) -> None:
    async def behave(call: Call) -> Answer:
        if call.rows > 8:
            raise BatchTooLargeError("batch-size must be <= 8", 8 if named else None)
        return await doubled(call)

    model = FakeModel(behave)

    async def work() -> list[list[RowsResult]]:
        asked = dispatcher(model)
        found = [await asked.answer(x_of(*range(64)), 64) for _ in range(10)]
        assert asked.most_rows == 8
        return found

    for results in run(work()):
        assert by_row(results, 64) == [2.0 * value for value in range(64)]
    refused = [call.rows for call in model.calls if call.rows > 8]
    assert refused == [64] if named else sorted(set(refused), reverse=True) == [64, 32, 16]
    assert len([call for call in model.calls if call.rows == 8]) == 80, "as many rows as it takes"


def of_bytes(*sizes: int) -> dict[str, np.ndarray]:
    return {"x": np.array([b"x" * size for size in sizes], object)}


@pytest.mark.parametrize("told", [True, False])
def test_a_limit_of_bytes_is_learnt_once(told: bool) -> None:
    """Rows of different sizes share a request as long as they fit; a row above the limit is alone in being rejected."""
    limit, refused = 1000, []

    async def behave(call: Call) -> Answer:
        size = sum(map(len, call.inputs["x"])) * 4 // 3  # as base64
        if size > limit:
            refused.append(size)
            raise RequestTooLargeError("HTTP 413", limit / size if told else None)
        return Answer({"y": np.zeros((call.rows, 1))}, "7")

    model = FakeModel(behave, signature((-1,), "string"))
    sizes = [*range(1, 64), 2000]
    random.Random(5).shuffle(sizes)

    async def work() -> None:
        asked = dispatcher(model)
        refused_first = 0
        for _ in range(10):
            found = by_row(await asked.answer(of_bytes(*sizes), 64), 64)
            assert found == ["Rejected" if size == 2000 else 0.0 for size in sizes]
            refused_first = refused_first or len(refused)
        once_each = len(refused) - refused_first
        assert once_each == 9 * 2, "the large row, asked for twice alone"
        assert refused_first <= (6 if told else 10)

    run(work())
    answered = len(model.calls) - len(refused)
    assert answered / 10 <= 2.5 * sum(sizes[:64]) * 4 / 3 / limit, "requests are about as large as they may be"


def test_a_single_row_that_is_too_large_a_batch_is_rejected() -> None:
    async def behave(call: Call) -> Answer:
        if call.inputs["x"].any():
            raise BatchTooLargeError("batch-size must be <= 0", 0)
        return await doubled(call)

    with recording() as heard:
        assert by_row(run(dispatcher(FakeModel(behave)).answer(x_of(5), 1)), 1) == ["Rejected"]
    assert isinstance(heard, Recorder)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (RequestTooLargeError("HTTP 413: too large"), "raise the server's limit of bytes, or make the record smaller"),
        (AnswerTooLargeError(f"more than 5 bytes; {RAISE_LIMIT}"), "raise --max_answer_bytes"),
    ],
)
def test_a_record_that_is_too_large_alone_gets_a_cure_that_can_be_followed(error: ModelError, cure: str, rows: int) -> None:
    """A batch of one can't be made smaller: --batch_max_size cures nothing."""
    behave = refusing(lambda x: x == 9, error)
    results = run(dispatcher(FakeModel(behave), others=FakeModel(behave)).answer(x_of(*range(10 - rows, 10)), rows))
    [failure] = [result.failure for result in results if result.failure is not None]
    assert failure.message.endswith(f"; {cure}")
    assert "batch_max_size" not in failure.message
