"""Rows that fail for what is not their fault: a busy server, one that merges requests, one that fails by chance."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from tests.dispatching import POISON, Time, by_row, dispatcher, recording, run, says, x_of
from tests.fake_model import Behaviour, Call, FakeModel, doubled
from transforms.errors import (
    MergedBatchError,
    ModelError,
    ModelFailedError,
    OverloadedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.predict.batching import RowsResult
from transforms.types import Answer

BUSY = (TransientError("INTERNAL: worker died"), ModelFailedError("HTTP 503: Prediction failed"), UnavailableError("reset"))


def unreliable(seed: int, share: float, error: ModelError, only_under_load: bool) -> FakeModel:
    """Fails that share of all requests, whatever is in them; a row that is poison always."""
    rng = random.Random(seed)

    async def behave(call: Call) -> Answer:
        await asyncio.sleep(0)
        chance = rng.random() < share and (model.in_flight > 1 or not only_under_load)
        await asyncio.sleep(0)
        if chance or POISON in call.inputs["x"]:
            raise type(error)(*error.args)
        return await doubled(call)

    model = FakeModel(behave)
    return model


async def ask(model: FakeModel, values: list[float], size: int, deadline_s: float) -> list[object]:
    asked = dispatcher(model, Time(), deadline_s=deadline_s)
    batches = [values[at : at + size] for at in range(0, len(values), size)]
    results = await asyncio.gather(*(asked.answer(x_of(*batch), len(batch)) for batch in batches))
    return [row for batch, result in zip(batches, results, strict=True) for row in by_row(result, len(batch))]


@pytest.mark.parametrize("only_under_load", [True, False])
@pytest.mark.parametrize("error", BUSY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("deadline_s", [0.0, 2.0, 60.0])
@pytest.mark.parametrize("size", [1, 16])
def test_no_healthy_record_is_dead_though_three_of_ten_requests_fail(
    size: int, deadline_s: float, error: ModelError, only_under_load: bool
) -> None:
    """TorchServe on a busy machine: one row a request, a short deadline, and probes that are answered meanwhile."""
    values = [float(value) for value in range(1, 401)]
    for seed in range(3):
        model = unreliable(seed, 0.3, error, only_under_load)
        assert run(ask(model, values, size, deadline_s)) == [2 * value for value in values]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("size", [1, 64])
def test_no_healthy_record_is_dead_when_a_slow_server_with_guilty_rows_gets_busy(size: int, share: float) -> None:
    """Trials have proven what guilty rows fail of, and then healthy ones fail under load with the same text."""
    rng, time, busy = random.Random(5), Time(), False
    values = [POISON if at % 25 == 7 else float(at + 1) for at in range(4000)]

    async def behave(call: Call) -> Answer:
        time.now += 0.02
        await asyncio.sleep(0)
        chance = busy and rng.random() < share and model.in_flight > 1
        await asyncio.sleep(0)
        if chance or POISON in call.inputs["x"]:
            raise says(TransientError, "failed")
        return await doubled(call)

    model = FakeModel(behave)

    async def work() -> list[object]:
        nonlocal busy
        asked, found = dispatcher(model, time), list[object]()
        for half in (values[:2000], values[2000:]):
            ahead = asyncio.Semaphore(64)

            async def answer(batch: list[float], ahead: asyncio.Semaphore = ahead) -> list[object]:
                async with ahead:
                    return by_row(await asked.answer(x_of(*batch), len(batch)), len(batch))

            batches = [half[at : at + size] for at in range(0, len(half), size)]
            found += [row for rows in await asyncio.gather(*map(answer, batches)) for row in rows]
            busy = True
        return found

    assert run(work()) == ["ServerError" if value == POISON else 2 * value for value in values]


def test_a_guilty_row_is_found_among_requests_that_fail_by_chance() -> None:
    values = [float(value) for value in range(1, 201)]
    values[77] = POISON
    model = unreliable(1, 0.3, BUSY[0], only_under_load=False)
    assert run(ask(model, values, 16, 2.0)) == ["ServerError" if value == POISON else 2 * value for value in values]


def test_a_row_is_tried_with_nothing_else_in_flight() -> None:
    alone: list[int] = []

    async def behave(call: Call) -> Answer:
        for _ in range(3):
            await asyncio.sleep(0)
        if POISON in call.inputs["x"]:
            alone.append(model.in_flight)
            raise TransientError("INTERNAL")
        return await doubled(call)

    model = FakeModel(behave)
    values = [float(value) for value in range(1, 101)]
    values[50] = POISON
    assert run(ask(model, values, 1, 60.0)).count("ServerError") == 1
    assert len(alone) >= 3
    assert alone[1:] == [1] * (len(alone) - 1), "only the first failure was under load"


@pytest.mark.parametrize("on_unavailable", ["hold", "dead_letter"])
def test_overload_and_time_outs_blame_no_row(on_unavailable: str) -> None:
    """Though the server answers all others: it is for whoever runs it to say how long an answer may take."""

    async def behave(call: Call) -> Answer:
        if POISON in call.inputs["x"]:
            raise OverloadedError("no answer within 30 s")
        return await doubled(call)

    async def work() -> list[RowsResult]:
        asked = dispatcher(FakeModel(behave), deadline_s=10, on_unavailable=on_unavailable)
        await asked.answer(x_of(1), 1)
        return await asked.answer(x_of(2, POISON, 3), 3)

    with recording() as heard:
        if on_unavailable == "dead_letter":
            assert by_row(run(work()), 3) == [4, "Unavailable", 6]
            return
        with pytest.raises(RuntimeError, match="for ever"):
            run(work())
    assert "it answers other records, but not this one so far" in str(heard.held)


def test_what_a_server_says_to_wait_is_no_failure_of_the_rows() -> None:
    async def behave(call: Call) -> Answer:
        if 0 < call.number < 4:
            raise UnavailableError("HTTP 503", 1.5)
        return await doubled(call)

    time = Time()

    async def work() -> list[RowsResult]:
        asked = dispatcher(FakeModel(behave), time)
        await asked.answer(x_of(1), 1)
        return await asked.answer(x_of(*range(8)), 8)

    assert by_row(run(work()), 8) == [2 * value for value in range(8)]
    assert time.slept == [1.5, 1.5, 1.5]


# ---------------------------------------------------------------------- server-side batching


def merging() -> FakeModel:
    """Merges what arrives together; if shapes differ, all of it fails (TensorFlow Serving, ``--enable_batching``)."""
    queue: list[tuple[tuple[int, ...], asyncio.Future[bool]]] = []

    async def behave(call: Call) -> Answer:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()
        if not queue:
            loop.call_soon(loop.call_soon, flush)
        queue.append((call.inputs["x"].shape[1:], done))
        if not await done:
            raise MergedBatchError("Tensors with name 'x' from different tasks have different shapes")
        return await doubled(call)

    def flush() -> None:
        fits = len({shape for shape, _ in queue}) == 1
        for _, done in queue:
            if not done.done():
                done.set_result(fits)
        queue.clear()

    return FakeModel(behave)


def test_rows_of_different_shapes_that_a_server_merges_are_all_answered() -> None:
    """200 records of five lengths, in requests of one length each."""
    model, time = merging(), Time()
    batches = [{"x": np.full((4, 1 + number % 5), number, np.float32)} for number in range(50)]

    async def work() -> list[list[RowsResult]]:
        asked = dispatcher(model, time)
        return await asyncio.gather(*(asked.answer(batch, 4) for batch in batches))

    for number, results in enumerate(run(work())):
        assert by_row(results, 4) == [2.0 * number] * 4
    assert time.slept == []
    assert len(model.calls) <= 3 * len(batches)


def other_clients(failing: set[int]) -> Behaviour:
    async def behave(call: Call) -> Answer:
        if call.number in failing:
            raise MergedBatchError("from different tasks have different shapes")
        return await doubled(call)

    return behave


def test_a_merge_with_requests_of_other_clients_blames_no_row() -> None:
    """It fails though nothing of ours is in flight beside it."""
    outcomes = run(dispatcher(FakeModel(other_clients(set(range(30)))), deadline_s=600).answer(x_of(1, 2), 2))
    assert by_row(outcomes, 2) == [2, 4]


def test_refusals_by_chance_blame_no_row() -> None:
    """Two versions behind one address, one of which refuses everything."""
    rng = random.Random(3)

    async def behave(call: Call) -> Answer:
        if POISON in call.inputs["x"] or rng.random() < 0.4:
            raise RejectedError("INVALID_ARGUMENT: input z is missing")
        return await doubled(call)

    values = [float(value) for value in range(1, 201)]
    values[150] = POISON

    async def work() -> list[object]:
        asked = dispatcher(FakeModel(behave), Time())
        found: list[object] = []
        for at in range(0, len(values), 8):
            found += by_row(await asked.answer(x_of(*values[at : at + 8]), 8), 8)
        return found

    found = run(work())
    assert [value for value, row in zip(values, found, strict=True) if row == "Rejected"] == [POISON]


def test_rows_that_were_merged_are_not_blamed_for_one_of_them() -> None:
    """The server's merged batch fails first; asked for alone, it fails for its one guilty row."""
    values = [1.0, 2.0, POISON, 4.0]

    async def behave(call: Call) -> Answer:
        if call.number == 0:
            raise MergedBatchError("batching session Run() input tensors must have equal 0th-dimension size")
        if POISON in call.inputs["x"]:
            raise TransientError("INTERNAL")
        return await doubled(call)

    async def ask_once() -> list[RowsResult]:
        return await dispatcher(FakeModel(behave), Time()).answer(x_of(*values), len(values))

    assert by_row(run(ask_once()), 4) == [2.0, 4.0, "ServerError", 8.0]
