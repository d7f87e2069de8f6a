"""Guilty rows are found, innocent ones never blamed; and requests of a fixed size."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dispatching import POISON, Recorder, Time, by_row, dispatcher, recording, refusing, run, x_of
from tests.fake_model import Behaviour, Call, FakeModel, doubled, signature
from transforms.errors import (
    AnswerTooLargeError,
    MalformedAnswerError,
    ModelFailedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.predict.batching import RowsResult, batch_size, request_inputs
from transforms.types import Answer, Signature, TensorSpec


@pytest.fixture
def heard() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


# ---------------------------------------------------------------------- guilty rows


def bound(rows: int, guilty: int) -> int:
    """Bisection asks at most twice a level for each guilty row, and once for the whole."""
    return 1 + 2 * guilty * max(1, (rows - 1).bit_length())


@given(st.data())
def test_bisection_finds_exactly_the_guilty_rows(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 70))
    guilty = data.draw(st.sets(st.integers(0, rows - 1), max_size=5))
    error = data.draw(st.sampled_from((RejectedError("bad row"), MalformedAnswerError("3 rows for 4"))))
    values = [float(row + 1) for row in range(rows)]  # no row is one of zeros, as a probe may be
    behave = refusing(lambda x: np.isin(x, [values[row] for row in guilty]), error)
    model, probed = FakeModel(behave), FakeModel(behave)
    outcomes = run(dispatcher(model, others=probed).answer(x_of(*values), rows))
    error_class = "Rejected" if isinstance(error, RejectedError) else "MalformedAnswer"
    assert by_row(outcomes, rows) == [error_class if row in guilty else 2 * values[row] for row in range(rows)]
    assert len(model.calls) + len(probed.calls) <= bound(rows, len(guilty))
    for outcome in outcomes:
        reached = [call for call in model.calls if values[outcome.start] in call.inputs["x"]]
        assert outcome.attempts == len(reached), "attempts: the requests that the rows were part of"


def test_a_server_that_takes_only_small_batches_loses_nothing() -> None:
    async def small(call: Call) -> Answer:
        if call.rows > 10:
            raise RejectedError("Task size is larger than maximum")
        return await doubled(call)

    outcomes = run(dispatcher(FakeModel(small)).answer(x_of(*range(64)), 64))
    assert by_row(outcomes, 64) == [2 * row for row in range(64)]


def test_an_answer_that_is_too_large_for_a_batch_is_asked_for_in_parts(heard: Recorder) -> None:
    """And a record whose answer alone is too large is a dead letter; the job goes on."""

    async def large(call: Call) -> Answer:
        if call.rows > 5 or POISON in call.inputs["x"]:
            raise AnswerTooLargeError("more than 3 bytes")
        return await doubled(call)

    values = [*map(float, range(1, 40)), POISON]
    outcomes = run(dispatcher(FakeModel(large), others=FakeModel(large)).answer(x_of(*values), 40))
    assert by_row(outcomes, 40) == [*(2 * value for value in values[:-1]), "MalformedAnswer"]
    assert heard.held == []


def lying(status: str = "internal error") -> Behaviour:
    """A row that makes the server answer 503: it crashes, and its front end calls that "unavailable"."""
    return refusing(lambda x: x == POISON, TransientError(status))


@pytest.mark.parametrize("place", [0, 5, 31])
def test_a_poison_row_that_is_answered_as_an_overload_is_found(place: int, heard: Recorder) -> None:
    values = [float(value) for value in range(32)]
    values[place] = POISON
    model, time = FakeModel(lying()), Time()

    async def work() -> list[RowsResult]:
        asked = dispatcher(model, time, deadline_s=60)
        await asked.answer(x_of(1), 1)
        return await asked.answer(x_of(*values), 32)

    outcomes = run(work())
    assert by_row(outcomes, 32) == ["ServerError" if row == place else 2 * row for row in range(32)]
    assert time.now - 1000 < 60 + 5 * 6 + 10, "a half has not the whole deadline again"
    assert len(model.calls) < 150
    assert heard.held == []


def test_a_poison_row_is_found_even_in_the_very_first_batch() -> None:
    """Nothing was ever answered: rows of the batch itself serve as the probe, or the job would hold for ever."""
    for values in ([POISON, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, POISON]):
        outcomes = run(dispatcher(FakeModel(lying())).answer(x_of(*values), 4))
        assert by_row(outcomes, 4) == ["ServerError" if value == POISON else 2 * value for value in values]


@pytest.mark.parametrize("refuses", [False, True])
def test_a_poison_row_is_found_even_if_it_is_the_very_first_and_alone(refuses: bool, heard: Recorder) -> None:
    """No other row is there to probe with: one of zeros tells that the server is up, also by being refused."""

    async def behave(call: Call) -> Answer:
        if refuses and not call.inputs["x"].any():
            raise RejectedError("zeros make no sense")
        return await lying()(call)

    assert by_row(run(dispatcher(FakeModel(behave)).answer(x_of(POISON), 1)), 1) == ["ServerError"]
    assert heard.held[-1] is None, "nothing was answered meanwhile, which was said"


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float64", "string"])
def test_the_row_of_zeros_has_the_types_of_the_signature(dtype: str) -> None:
    """Else the server would refuse the probe for its type, and refusing counts as being up."""
    poison = np.full((1, 1), b"x" if dtype == "string" else 1, object if dtype == "string" else dtype)

    async def behave(call: Call) -> Answer:
        if len(model.calls) > 100:
            raise RejectedError("enough")
        raise TransientError("internal error")

    model = FakeModel(behave, signature(dtype=dtype))
    run(dispatcher(model).answer({"x": poison}, 1))
    [*zeros] = [call.inputs["x"] for call in model.calls if not call.inputs["x"].any()]
    assert zeros
    assert {row.dtype for row in zeros} == {poison.dtype}


def test_a_poison_row_alone_and_first_is_found_if_the_server_says_that_its_model_failed(heard: Recorder) -> None:
    """Nothing was ever answered and there is no other row to probe with: that word is all there is to go by."""
    failed = refusing(lambda x: True, ModelFailedError("HTTP 503: Prediction failed"))
    time = Time()
    assert by_row(run(dispatcher(FakeModel(failed), time, deadline_s=60).answer(x_of(POISON), 1)), 1) == ["ServerError"]
    assert time.now >= 1060, "it may be the server's own trouble: the whole deadline is tried"
    assert heard.held[-1] is None, "and that is over"


@pytest.mark.parametrize("place", [0, 17, 63])
def test_a_row_on_which_the_model_fails_does_not_cost_the_whole_deadline(place: int, heard: Recorder) -> None:
    """A server that says so is not overloaded: a probe tells that it works, and the batch is bisected at once."""
    values = [float(value) for value in range(64)]
    values[place] = POISON
    model, time = FakeModel(refusing(lambda x: x == POISON, ModelFailedError("HTTP 503: Prediction failed"))), Time()

    async def work() -> list[RowsResult]:
        asked = dispatcher(model, time, deadline_s=60)
        await asked.answer(x_of(1), 1)
        return await asked.answer(x_of(*values), 64)

    assert by_row(run(work()), 64) == ["ServerError" if row == place else 2 * row for row in range(64)]
    assert time.now - 1000 < 10, "the row alone is retried for 2 s; nothing else waits"
    assert len(model.calls) < 60
    assert heard.held == []


def test_a_batch_on_which_the_model_failed_once_loses_nothing() -> None:
    async def once(call: Call) -> Answer:
        if call.number == 1:
            raise ModelFailedError("HTTP 507: Out of resources")
        return await doubled(call)

    model = FakeModel(once)

    async def work() -> list[RowsResult]:
        asked = dispatcher(model, Time())
        await asked.answer(x_of(1), 1)
        return await asked.answer(x_of(*range(8)), 8)

    assert by_row(run(work()), 8) == [2 * row for row in range(8)]


def test_a_row_alone_and_first_is_held_if_the_server_only_fails() -> None:
    with pytest.raises(RuntimeError, match="for ever"):
        run(dispatcher(FakeModel(refusing(lambda x: True, TransientError("overload")))).answer(x_of(1), 1))


def test_once_a_row_was_answered_it_is_asked_and_no_word_is_taken(heard: Recorder) -> None:
    """A model that fails for everybody, for want of memory say, blames no row."""

    async def behave(call: Call) -> Answer:
        if 0 < call.number < 40:
            raise ModelFailedError("HTTP 507: Out of resources")
        return await doubled(call)

    async def work() -> list[RowsResult]:
        asked = dispatcher(FakeModel(behave), deadline_s=1)
        await asked.answer(x_of(1), 1)
        return await asked.answer(x_of(2), 1)

    assert by_row(run(work()), 1) == [4]
    assert heard.held[-1] is None


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_comes_back_just_before_the_probe_blames_no_row(rows: int, known: bool) -> None:
    """The probe says that the server is up now, not that it was up when the rows failed: they get another try."""
    time, state = Time(), {"up": known}

    async def behave(call: Call) -> Answer:
        if not state["up"]:
            state["up"] = time.now >= 1060  # this request still fails; the probe right behind it does not
            raise UnavailableError("refused")
        return await doubled(call)

    async def work() -> list[RowsResult]:
        asked = dispatcher(FakeModel(behave), time, deadline_s=60)
        if known:
            await asked.answer(x_of(9), 1)
            state["up"] = False
        return await asked.answer(x_of(*range(rows)), rows)

    assert by_row(run(work()), rows) == [2 * row for row in range(rows)]


def test_when_the_server_goes_down_during_a_bisection_the_halves_hold(heard: Recorder) -> None:
    time = Time()

    async def behave(call: Call) -> Answer:
        if call.number == 0:
            raise RejectedError("bad row")
        if time.now < 1500:
            raise UnavailableError("refused")
        if POISON in call.inputs["x"]:
            raise RejectedError("bad row")
        return await doubled(call)

    outcomes = run(dispatcher(FakeModel(behave), time).answer(x_of(1, POISON, 3, 4), 4))
    assert by_row(outcomes, 4) == [2, "Rejected", 6, 8]
    assert heard.held[-1] is None


def test_with_fail_no_request_outlives_the_one_that_failed() -> None:
    """A half ends the job: the other half's request is cancelled with it."""
    time = Time()

    async def behave(call: Call) -> Answer:
        if call.number == 0:
            raise RejectedError("bad row")
        if 2.0 not in call.inputs["x"]:
            raise UnavailableError("refused")
        await asyncio.Event().wait()
        raise AssertionError

    model = FakeModel(behave)

    async def work() -> None:
        asked = dispatcher(model, time, on_unavailable="fail", max_in_flight=4)
        with pytest.raises(UnavailableError):
            await asked.answer(x_of(1, 2), 2)
        await asyncio.sleep(0)

    run(work())
    assert (model.in_flight, model.cancelled) == (0, 1)


# ---------------------------------------------------------------------- fixed batch dimension and scalars


def sizes_sent(served: Signature, inputs: dict[str, np.ndarray], rows: int) -> tuple[FakeModel, list[Any]]:
    model = FakeModel(served=served)
    outcomes = run(dispatcher(model).answer(inputs, rows))
    return model, by_row(outcomes, rows)


def test_a_fixed_batch_dimension_is_filled_up_and_the_surplus_dropped() -> None:
    model, found = sizes_sent(signature((4, 1)), x_of(1, 2, 3), 3)
    assert found == [2, 4, 6]
    assert model.calls[0].rows == 4
    assert model.calls[0].inputs["x"].ravel().tolist() == [1, 2, 3, 3]


def test_a_full_fixed_batch_is_sent_as_it_is() -> None:
    model, found = sizes_sent(signature((4, 1)), x_of(1, 2, 3, 4), 4)
    assert found == [2, 4, 6, 8]
    assert model.calls[0].rows == 4


def test_bisection_and_probe_respect_a_fixed_batch_dimension() -> None:
    model = FakeModel(lying(), signature((4, 1)))
    outcomes = run(dispatcher(model, deadline_s=1).answer(x_of(1, POISON, 3, 4), 4))
    assert by_row(outcomes, 4) == [2, "ServerError", 6, 8]
    assert {(call.rows, call.inputs["x"].shape) for call in model.calls} == {(4, (4, 1))}


def test_scalar_inputs_are_sent_without_a_batch_dimension() -> None:
    model, found = sizes_sent(signature(()), {"x": np.array([21], np.float32)}, 1)
    assert found == [42]
    x = model.calls[0].inputs["x"]
    assert x.shape == ()
    assert x.dtype == np.dtype(np.float32)


def test_scalar_strings_stay_bytes() -> None:
    values = np.array([b"\x00text\x00"], dtype=object)
    sent, rows = request_inputs(signature((), "string"), {"x": values}, 1)
    assert rows == 1
    assert sent["x"].shape == ()
    assert sent["x"].dtype == np.dtype(object)
    assert sent["x"][()] == b"\x00text\x00"


@pytest.mark.parametrize("scalar_first", [True, False])
def test_a_scalar_beside_a_fixed_batch_dimension(scalar_first: bool) -> None:
    """Each record has a scalar of its own, so each is a request of its own, filled up."""
    specs = {"k": TensorSpec("float32", ()), "x": TensorSpec("float32", (4, 1))}
    served = signature()
    served = Signature(served.name, served.method, dict(sorted(specs.items(), reverse=not scalar_first)), served.outputs)
    assert batch_size(served, 64) == 1
    sent, rows = request_inputs(served, {"k": np.array([5], np.float32), **x_of(1)}, 1)
    assert rows == 4
    assert sent["k"].shape == ()
    assert sent["x"].ravel().tolist() == [1, 1, 1, 1]
