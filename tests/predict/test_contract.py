"""A server that refuses what it answered before: no record is to blame, and the operator is told what changed."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

from tests.dispatching import POISON, Time, by_row, dispatcher, recording, run, x_of
from tests.fake_model import Call, FakeModel, doubled, signature
from transforms.errors import MalformedAnswerError, ModelError, NotServedError, RejectedError
from transforms.predict.batching import RowsResult
from transforms.predict.contract import ContractChangedError, difference
from transforms.predict.dispatch import UNPROVEN_MOST, Dispatcher
from transforms.types import METHOD_PREDICT, Answer, Signature, TensorSpec

REFUSALS = (
    RejectedError("INVALID_ARGUMENT: input x is missing"),
    RejectedError("HTTP 400: credentials expired"),
    MalformedAnswerError("no output y"),
    NotServedError("HTTP 403: forbidden"),
    NotServedError("HTTP 404: unknown model"),
)


def renamed(served: Signature) -> Signature:
    return dataclasses.replace(served, inputs={"z": TensorSpec("float32", (-1, 2)), "x": served.inputs["x"]})


class Rebuilt:
    """A server whose model refuses everything between ``begin`` and ``end``, as ``error``."""

    def __init__(self, error: ModelError, until: float, time: Time):
        self.error, self.until, self.time = error, until, time
        self.broken = False
        self.model = FakeModel(self.behave)

    async def behave(self, call: Call) -> Answer:
        await asyncio.sleep(0)
        if self.broken and self.time.now < self.until:
            raise type(self.error)(*self.error.args)
        return await doubled(call)


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_no_record_is_blamed_when_the_server_refuses_what_it_answered_before(error: ModelError) -> None:
    """500 records during which the contract is broken for an hour: all are answered after it."""
    time = Time()
    server = Rebuilt(error, 4600, time)

    async def work() -> list[object]:
        asked = dispatcher(server.model, time)
        found = by_row(await asked.answer(x_of(1), 1), 1)
        server.broken = True
        batches = [range(at, at + 50) for at in range(0, 500, 50)]
        results = await asyncio.gather(*(asked.answer(x_of(*batch), 50) for batch in batches))
        return found + [row for result in results for row in by_row(result, 50)]

    with recording() as heard:
        assert run(work()) == [2.0, *(2.0 * value for value in range(500))]
    assert heard.held[-1] is None
    assert "refuses a record that it answered before, with version 7" in str(heard.held[0])
    assert str(error) in str(heard.held[0])


@pytest.mark.parametrize("on_unavailable", ["hold", "dead_letter", "fail"])
def test_a_changed_signature_is_named(on_unavailable: str) -> None:
    time = Time()
    server = Rebuilt(RejectedError("no z"), 30_000, time)

    async def work() -> list[RowsResult]:
        asked = dispatcher(server.model, time, on_unavailable=on_unavailable)
        await asked.answer(x_of(1), 1)
        server.broken = True
        server.model.metadata = dataclasses.replace(
            server.model.metadata, version="8", signature=renamed(server.model.metadata.signature)
        )
        return await asked.answer(x_of(2, 3), 2)

    named = r"another signature \(version 8\): input z: float32\[\?,2\] is new: no z"
    if on_unavailable == "dead_letter":
        assert by_row(run(work()), 2) == ["Unavailable"] * 2
    elif on_unavailable == "fail":
        with pytest.raises(Exception, match=named):
            run(work())
    else:
        with recording() as heard, pytest.raises(RuntimeError, match="for ever"):
            run(work())
        assert "another signature (version 8): input z: float32[?,2] is new: no z" in str(heard.held[0])


def test_who_can_decode_again_gets_the_new_signature_and_may_decline_it() -> None:
    time = Time()
    server = Rebuilt(RejectedError("no z"), 1100, time)

    async def work() -> list[RowsResult]:
        asked = dispatcher(server.model, time, renews=True)
        await asked.answer(x_of(1), 1)
        server.broken = True
        new = renamed(server.model.metadata.signature)
        server.model.metadata = dataclasses.replace(server.model.metadata, signature=new)
        with pytest.raises(ContractChangedError, match="input z") as caught:
            await asked.answer(x_of(2, 3), 2)
        assert caught.value.metadata.signature == new
        asked.decline(new, "z: missing")
        return await asked.answer(x_of(2, 3), 2)

    with recording() as heard:
        assert by_row(run(work()), 2) == [4, 6]
    assert "the records do not fit it: z: missing" in str(heard.held[0])


def test_a_guilty_row_is_found_beside_a_known_good_one_at_the_cost_of_few_probes() -> None:
    """One percent of poison must not double the requests, even with one request at a time."""

    async def behave(call: Call) -> Answer:
        if POISON in call.inputs["x"]:
            raise RejectedError("bad row")
        return await doubled(call)

    model, probed = FakeModel(behave), FakeModel(behave)

    async def work(asked: Dispatcher) -> None:
        for number in range(500):
            value = POISON if number % 100 == 99 else float(number + 1)
            assert by_row(await asked.answer(x_of(value), 1), 1) == ["Rejected" if value == POISON else 2 * value]

    run(work(dispatcher(model, others=probed)))
    assert (len(model.calls), len(probed.calls)) == (505, 5)


def test_before_anything_was_answered_a_few_records_are_blamed_and_then_the_operator_is_told() -> None:
    async def behave(call: Call) -> Answer:
        raise RejectedError("INVALID_ARGUMENT: not allowed")

    found: list[object] = []

    async def work() -> None:
        asked = dispatcher(FakeModel(behave))
        for value in range(1, 501):
            found.extend(by_row(await asked.answer(x_of(value), 1), 1))

    with recording() as heard, pytest.raises(RuntimeError, match="for ever"):
        run(work())
    assert found == ["Rejected"] * UNPROVEN_MOST
    assert f"refused the first {UNPROVEN_MOST} records and has answered none" in str(heard.held[0])
    assert "not allowed" in str(heard.held[0])


def test_the_operator_is_told_the_cure_before_what_the_server_said() -> None:
    """Records that are JSON objects, whole, of a model that wants an image: what a dead letter would say, the hold says."""

    async def behave(call: Call) -> Answer:
        raise RejectedError("INVALID_ARGUMENT: Unknown image file format")

    async def work() -> None:
        asked = dispatcher(FakeModel(behave))
        for _ in range(500):
            await asked.answer({"x": np.array([b'{"image": "iVBORw0KGgo="}'], dtype=object)}, 1)

    with recording() as heard, pytest.raises(RuntimeError, match="for ever"):
        run(work())
    reason = str(heard.held[0])
    assert reason.index("--features=x=$.FIELD") < reason.index("Unknown image file format")


def test_a_first_record_that_is_refused_is_rejected_if_zeros_are_answered() -> None:
    async def behave(call: Call) -> Answer:
        if call.inputs["x"].any():
            raise RejectedError("bad row")
        return await doubled(call)

    async def work() -> list[object]:
        asked = dispatcher(FakeModel(behave))
        return [row for value in range(1, 41) for row in by_row(await asked.answer(x_of(value), 1), 1)]

    assert run(work()) == ["Rejected"] * 40


def test_a_model_that_takes_only_the_newest_rows_is_asked_with_one_of_those() -> None:
    """Version 8 takes larger numbers only: what version 7 answered says nothing about it any more."""
    time = Time()
    served = {"version": "7"}

    async def behave(call: Call) -> Answer:
        x = call.inputs["x"]
        if POISON in x or (served["version"] == "8" and np.any(x < 100)):
            raise RejectedError("out of range")
        return Answer({"y": 2 * x}, served["version"])

    async def work() -> list[object]:
        asked = dispatcher(FakeModel(behave), time)
        found = by_row(await asked.answer(x_of(1), 1), 1)
        served["version"] = "8"
        for value in (200, 5, 201):
            found += by_row(await asked.answer(x_of(value), 1), 1)
        return found

    assert run(work()) == [2, 400, "Rejected", 402]


def test_differences_of_signatures() -> None:
    before = signature()
    assert difference(before, before) == "nothing that shows"
    now = Signature("other", METHOD_PREDICT, {"x": TensorSpec("int64", (-1, 3), True)}, {})
    assert difference(before, now) == (
        "input x: float32[?,?] is now int64[?,3], with a default value; output y is gone; "
        "signature serving_default is now other"
    )
