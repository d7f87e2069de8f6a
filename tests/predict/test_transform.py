"""``Predict`` in pipelines of other people: records and features, order, windows, failures apart or in their place."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow, SlidingWindows, TimestampedValue

from tests.beam_run import run
from tests.fake_model import Call, FakeModel, doubled, serving, signature
from transforms import FailedElement, KafkaRecord, Predict, Prediction
from transforms.clients.base import ClientOptions
from transforms.errors import ConfigError, ContractError, RejectedError, UnavailableError
from transforms.predict.options import FAIL, DispatchOptions
from transforms.predict.scorer import Scorer, ScorerConfig
from transforms.retry import RetryPolicy
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import Answer

POISON = 666.0


def record(offset: int, value: bytes | None) -> KafkaRecord:
    return KafkaRecord("in", 0, offset, 1_000, b"k", value, [("h", b"1")])


@pytest.fixture
def model() -> FakeModel:
    async def behave(call: Call) -> Answer:
        if POISON in call.inputs["x"]:
            raise RejectedError("INVALID_ARGUMENT: bad row")
        return await doubled(call)

    return FakeModel(behave)


@pytest.fixture
def uri(model: FakeModel) -> Iterator[str]:
    with serving(model) as uri:
        yield uri


def told(outcome: Any) -> Any:
    """An outcome in short: y, or the class of its failure."""
    if isinstance(outcome, FailedElement):
        return outcome.failure.error_class
    assert isinstance(outcome, Prediction)
    return float(outcome.outputs["y"][0])


def test_records_in_order_with_their_failures_in_place(model: FakeModel, uri: str) -> None:
    records = [record(0, b"[1]"), record(1, None), record(2, b"[666]"), record(3, b'{"x":[2]}'), record(4, b"{")]

    def check(found: list[Any]) -> None:
        assert [told(outcome) for outcome in found] == [2.0, "Tombstone", "Rejected", 4.0, "JsonError"]
        assert [outcome.element for outcome in found] == records
        assert (found[0].model, found[0].version, found[0].attempts) == ("fake", "7", 2)
        assert found[2].failure.stage == "predict"

    run(records, lambda rows: rows | Predict(uri), check)


def test_features_of_every_form_and_records_among_them(uri: str) -> None:
    elements = [{"x": np.array([1], np.float32)}, np.array([2], np.float32), record(0, b"[3]"), {"x": [4]}, "text"]

    def check(found: list[Any]) -> None:
        assert [told(outcome) for outcome in found] == [2.0, 4.0, 6.0, 8.0, "FieldError"]

    run(elements, lambda rows: rows | Predict(uri), check)


def test_a_function_of_the_user_s_for_records_and_features(uri: str) -> None:
    """An element that it fails on is a failure; what has no fields comes as ``value``."""
    elements = [
        {"n": 1},
        record(0, b'{"n":2}'),
        record(1, b"{}"),
        np.array([3], np.float32),
        {"m": 1},
        record(2, b"[4]"),
        {"n": 5},
    ]

    def check(found: list[Any]) -> None:
        assert [told(outcome) for outcome in found] == [2.0, 4.0, "PreprocessError", 6.0, "PreprocessError", 8.0, 10.0]
        assert [type(outcome.element) for outcome in found] == [type(element) for element in elements]

    run(elements, lambda rows: rows | Predict(uri, preprocess=the_x), check)
    with pytest.raises(ConfigError, match=r"^preprocess=nowhere:clean: there is no module"):
        Predict(uri, preprocess="nowhere:clean")


def the_x(fields: dict[str, Any]) -> dict[str, Any]:
    return {"x": fields["value"] if "value" in fields else [fields["n"]]}


def test_apart(uri: str) -> None:
    elements = [{"x": [float(value)]} for value in (1, POISON, 2)]

    def predictions(rows: Any) -> Any:
        found, _ = rows | Predict(uri).with_exception_handling()
        return found

    def failures(rows: Any) -> Any:
        _, failed = rows | Predict(uri).with_exception_handling()
        return failed

    run(elements, predictions, lambda found: _equal([told(o) for o in found], [2.0, 4.0]))
    run(elements, failures, lambda found: _equal([told(o) for o in found], ["Rejected"]))


def _equal(found: Any, expected: Any) -> None:
    assert found == expected


def test_batches_are_full_and_the_order_is_kept(model: FakeModel, uri: str) -> None:
    """Also over more elements than are collected at a time."""
    values = list(range(100))

    def check(found: list[Any]) -> None:
        assert [told(outcome) for outcome in found] == [2.0 * value for value in values]

    run([{"x": [value]} for value in values], lambda rows: rows | Predict(uri, max_batch_size=8), check)
    assert sorted(call.rows for call in model.calls) == [4] + [8] * 12


class Where(beam.DoFn):
    def process(
        self, outcome: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Any]:
        yield told(outcome), timestamp.micros // 10**6, window


@pytest.mark.parametrize("size", [1, 64])  # outcomes that leave while the bundle is read, and at its end
def test_windows_and_timestamps_are_kept(uri: str, size: int) -> None:
    def stages(rows: Any) -> Any:
        return (
            rows
            | beam.Map(lambda value: TimestampedValue({"x": [value]}, value))
            | beam.WindowInto(FixedWindows(10))
            | Predict(uri, max_batch_size=size)
            | beam.ParDo(Where())
            | "Global" >> beam.WindowInto(GlobalWindows())
        )

    def check(found: list[Any]) -> None:
        first, second = IntervalWindow(0, 10), IntervalWindow(10, 20)
        assert found == [(2.0, 1, first), (24.0, 12, second), (18.0, 9, first), (6.0, 3, first), (30.0, 15, second)]

    run([1, 12, 9, 3, 15], stages, check)


def test_an_element_of_several_windows_has_an_outcome_in_each(uri: str) -> None:
    def stages(rows: Any) -> Any:
        return (
            rows
            | beam.Map(lambda value: TimestampedValue({"x": [value]}, value))
            | beam.WindowInto(SlidingWindows(10, 5))
            | Predict(uri)
            | beam.ParDo(Where())
            | "Global" >> beam.WindowInto(GlobalWindows())
        )

    def check(found: list[Any]) -> None:
        assert {window for _, _, window in found} == {IntervalWindow(0, 10), IntervalWindow(5, 15)}
        assert [(y, second) for y, second, _ in found] == [(14.0, 7)] * 2

    run([7], stages, check)


def test_constructing_contacts_nobody_and_names_what_is_wrong(model: FakeModel, uri: str) -> None:
    pickle.loads(pickle.dumps(Predict(uri)))
    assert model.metadata_calls == 0
    with pytest.raises(ConfigError, match="unknown form"):
        Predict("ftp://h/m")


def test_a_format_that_does_not_fit_ends_the_pipeline(uri: str) -> None:
    with pytest.raises(ContractError, match="--input_format=bytes"):
        run([record(0, b"[1]")], lambda rows: rows | Predict(uri, input_format="bytes"), lambda _: None)


def test_features_need_no_record_format() -> None:
    """A complex input has no JSON form, but arrays of it can be sent."""
    model = FakeModel(served=signature((-1,), "complex64"))
    scorer = Scorer[int](ScorerConfig("fake://model", ClientOptions(), DispatchOptions(), 4))
    with serving(model):
        scorer.begin()
        outcomes = [*scorer.add({"x": 1j}, 0), *scorer.end()]
        scorer.close()
    [(tag, outcome)] = outcomes
    assert (tag, outcome.outputs["y"]) == (0, 2j)  # type: ignore[union-attr]  # it is no failure


def test_over_grpc_with_the_server_down(uri: str) -> None:
    with TfServingGrpcStub() as stub:
        down = Predict(stub.uri(), retry_deadline_s=0.01)
        stub.down()
        with pytest.raises(UnavailableError, match="the model server is down"):
            run([{"x": [1]}], lambda rows: rows | down, lambda _: None)
        failing = Predict(stub.uri(), retry_deadline_s=0.01, on_unavailable="dead_letter")
        run(
            [{"x": [1]}, {"x": [2]}],
            lambda rows: rows | failing,
            lambda found: _equal([told(o) for o in found], ["Unavailable"] * 2),
        )


def test_a_bundle_that_failed_leaves_nothing_for_the_next(model: FakeModel, uri: str) -> None:
    options = DispatchOptions(retry=RetryPolicy(0.01), on_unavailable=FAIL)
    scorer = Scorer[int](ScorerConfig(uri, ClientOptions(), options, 4))
    scorer.begin()
    assert list(scorer.add({"x": [1]}, 1)) == []  # and then a later stage raises
    scorer.begin()
    found = [*scorer.add({"x": [2]}, 2), *scorer.end()]
    scorer.close()
    scorer.close()
    assert [(tag, told(outcome)) for tag, outcome in found] == [(2, 4.0)]
    assert model.closed == 2, "one asked for the metadata"


def test_a_bundle_that_is_given_up_emits_nothing_and_leaves_nothing_for_the_next(model: FakeModel, uri: str) -> None:
    """The consumer group has gone on without us while the server was silent."""
    silent = asyncio.Event()

    async def behave(call: Call) -> Answer:
        if call.number == 0:
            await silent.wait()
        return await doubled(call)

    class Guard:
        def keep_alive(self, holding: bool = False) -> bool:
            return False

    model.behaviour = behave
    scorer = Scorer[int](ScorerConfig(uri, ClientOptions(), DispatchOptions(), 4), Guard())
    scorer.begin()
    assert [*scorer.add({"x": [1]}, 1), *scorer.end()] == []
    assert model.cancelled == 1
    scorer.begin()
    assert [(tag, told(outcome)) for tag, outcome in [*scorer.add({"x": [2]}, 2), *scorer.end()]] == [(2, 4.0)]
    scorer.close()
