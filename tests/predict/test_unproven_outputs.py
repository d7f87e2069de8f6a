"""Outputs whose shape nobody declares: the dispatcher has them proven by a request of one row, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from tests.dispatching import by_row, dispatcher, run, x_of
from tests.fake_model import Behaviour, Call, FakeModel, doubled
from transforms.clients.wire.outputs import OutputMatcher
from transforms.predict.batching import RowsResult
from transforms.types import METHOD_PREDICT, Answer, Signature, TensorSpec


def undeclared(outputs: Callable[[Call], np.ndarray]) -> Behaviour:
    """Answers ``y`` as a client of a model without declared outputs does."""
    matcher = OutputMatcher("model m")

    async def behave(call: Call) -> Answer:
        return matcher.match({"y": outputs(call)}, call.rows).answer("1")

    return behave


def results_of(model: FakeModel, *batches: int) -> list[list[RowsResult]]:
    """Sends batches of so many rows side by side."""

    async def work() -> list[list[RowsResult]]:
        asked = dispatcher(model)
        return await asyncio.gather(*(asked.answer(x_of(*range(rows)), rows) for rows in batches))

    return run(work())


def test_one_request_of_one_row_proves_it_for_all_that_are_in_flight() -> None:
    model = FakeModel(undeclared(lambda call: 2 * call.inputs["x"][:, 0]))
    for rows, results in zip((4, 4, 4), results_of(model, 4, 4, 4), strict=True):
        assert by_row(results, rows) == [2.0 * row for row in range(rows)]
    assert sorted(call.rows for call in model.calls) == [1, 4, 4, 4]


def test_a_batch_that_matched_by_chance_is_asked_for_again() -> None:
    """Two values for whatever request: two rows must not get one each."""
    model = FakeModel(undeclared(lambda call: np.array([10.0, 20.0])))
    [results] = results_of(model, 2)
    [result] = results
    assert result.outputs is not None
    assert np.asarray(result.outputs["y"]).tolist() == [[10.0, 20.0], [10.0, 20.0]]


def test_rows_that_match_at_one_size_only_are_dead_letters() -> None:
    """As many boxes as rows by chance, and three for one row."""
    model = FakeModel(undeclared(lambda call: np.zeros(3 if call.rows == 1 else 2)))
    [results] = results_of(model, 2)
    assert by_row(results, 2) == ["MalformedAnswer"] * 2


def test_declared_outputs_cost_no_request_more() -> None:
    model = FakeModel(doubled)
    results_of(model, 4)
    assert [call.rows for call in model.calls] == [4]


def test_a_fixed_batch_size_is_asked_for_again_where_the_outputs_are_declared() -> None:
    """After an answer that did not fit: two that do in a row are taken, and no row is a dead letter."""
    spec = {"y": TensorSpec("float32", (-1,))}
    signature = Signature("s", METHOD_PREDICT, {"x": TensorSpec("float32", (3, 1))}, spec)
    matcher = OutputMatcher("model m")
    matcher.signature = signature

    async def behave(call: Call) -> Answer:
        values = 2 * call.inputs["x"][:, 0]
        return matcher.match({"y": values[:1] if call.number == 0 else values}, call.rows).answer("1")

    [results] = results_of(FakeModel(behave, signature), 3)
    assert by_row(results, 3) == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("rows", [3])
def test_a_fixed_batch_size_can_not_be_proven(rows: int) -> None:
    signature = Signature(
        "s", METHOD_PREDICT, {"x": TensorSpec("float32", (rows, 1))}, {"y": TensorSpec("float32", (rows,))}
    )
    model = FakeModel(undeclared(lambda call: call.inputs["x"][:, 0]), signature)
    [results] = results_of(model, rows)
    assert by_row(results, rows) == ["MalformedAnswer"] * rows
    assert results[0].failure is not None
    assert "declare the shapes of its outputs" in results[0].failure.message
