"""The handlers in ``RunInference``, on Beam's local runner, against a stub of TensorFlow Serving and a fake model."""

from __future__ import annotations

import dataclasses
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import (
    KeyedModelHandler,
    KeyModelMapping,
    ModelMetadata,
    PredictionResult,
    RunInference,
)
from apache_beam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow, TimestampedValue

from tests.beam_run import run
from tests.fake_model import Call, FakeModel, doubled, serving
from transforms.errors import ConfigError, NotServedError, UnavailableError
from transforms.handlers import (
    MmsModelHandler,
    OpenInferenceModelHandler,
    SavedModelHandler,
    TFServingModelHandler,
    UriModelHandler,
    VertexModelHandler,
    is_failure,
)
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.types import Answer, Failure

POISON = 666.0


@pytest.fixture
def stub() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub() as stub:
        stub.faults.poison = lambda row: POISON in row["x"]
        yield stub


def x(value: float) -> np.ndarray:
    return np.array([value], np.float32)


def check_halves(values: list[float]) -> Callable[[list[PredictionResult]], None]:
    """A check that the stub's model, y = 0.5 x + 2, has answered these in order."""

    def check(found: list[PredictionResult]) -> None:
        assert [float(result.example[0]) for result in found] == values
        assert [float(result.inference["y"][0]) for result in found] == [0.5 * value + 2 for value in values]
        assert {result.model_id for result in found} == {"model@1"}

    return check


def test_unkeyed_in_order_and_in_batches(stub: TfServingGrpcStub) -> None:
    handler = TFServingModelHandler(stub.uri(), min_batch_size=4, max_batch_size=4)
    values = [float(value) for value in range(10)]
    run([x(value) for value in values], lambda rows: rows | RunInference(handler), check_halves(values))
    assert stub.faults.batch_sizes == [4, 4, 2]


def test_over_rest() -> None:
    with TfServingRestStub() as stub:
        run([x(1), x(2)], lambda rows: rows | RunInference(TFServingModelHandler(stub.uri())), check_halves([1, 2]))


def test_keyed(stub: TfServingGrpcStub) -> None:
    def check(found: list[tuple[str, PredictionResult]]) -> None:
        assert [(key, result.inference["y"].tolist()) for key, result in found] == [("a", [2.5]), ("b", [3.0])]

    handler = KeyedModelHandler(TFServingModelHandler(stub.uri()))
    run([("a", {"x": x(1)}), ("b", {"x": [2.0]})], lambda rows: rows | RunInference(handler), check)


def test_a_model_for_each_key(stub: TfServingGrpcStub) -> None:
    """Beam loads them into models shared across threads, and asks the one of the key."""
    with TfServingGrpcStub(StubModel(name="other", versions={5: "AVAILABLE"})) as other:
        handler = KeyedModelHandler(
            [
                KeyModelMapping(["a"], TFServingModelHandler(stub.uri())),
                KeyModelMapping(["b"], TFServingModelHandler(other.uri())),
            ]
        )

        def check(found: list[tuple[str, PredictionResult]]) -> None:
            assert sorted((key, result.model_id) for key, result in found) == [("a", "model@1"), ("b", "other@5")]

        run([("a", x(1)), ("b", x(2))], lambda rows: rows | RunInference(handler), check)


def test_a_poison_element_is_a_value_and_the_others_of_its_batch_are_answered(stub: TfServingGrpcStub) -> None:
    values = [1.0, 2.0, POISON, 3.0]
    elements = [*map(x, values), np.array(["text"]), x(4)]

    def check(found: list[PredictionResult]) -> None:
        assert [result.inference["y"].tolist() if not is_failure(result) else "failed" for result in found] == [
            [2.5], [3.0], "failed", [3.5], "failed", [4.0],
        ]  # fmt: skip
        assert [found[at].inference.error_class for at in (2, 4)] == ["Rejected", "FieldError"]
        assert isinstance(found[2].inference, Failure)
        assert found[2].example[0] == POISON

    handler = TFServingModelHandler(stub.uri(), min_batch_size=6)
    run(elements, lambda rows: rows | RunInference(handler), check)


def test_is_failure_sorts_keyed_results_too(stub: TfServingGrpcStub) -> None:
    def check(found: list[tuple[str, PredictionResult]]) -> None:
        assert [key for key, _ in found] == ["b"]

    handler = KeyedModelHandler(TFServingModelHandler(stub.uri()))
    run(
        [("a", x(1)), ("b", x(POISON))],
        lambda rows: rows | RunInference(handler) | beam.Filter(is_failure),
        check,
    )


def test_with_exception_handling_takes_the_batch_while_the_server_is_down(stub: TfServingGrpcStub) -> None:
    """What is no element's fault is an exception, which Beam's own second output takes."""
    stub.down()
    handler = TFServingModelHandler(stub.uri(), retry_deadline_s=0.01, min_batch_size=2)

    def stages(rows: Any) -> Any:
        _, other = rows | RunInference(handler).with_exception_handling()
        return other.failed_inferences

    def check(found: list[Any]) -> None:
        [(batch, (kind, message, _))] = found
        assert [float(element[0]) for element in batch] == [1, 2]
        assert kind is UnavailableError
        assert "the model server is down" in message

    run([x(1), x(2)], stages, check)


def test_without_it_the_bundle_fails(stub: TfServingGrpcStub) -> None:
    handler = TFServingModelHandler(stub.uri(signature="nosuch"))
    with pytest.raises(NotServedError, match="serving_default"):
        run([x(1)], lambda rows: rows | RunInference(handler), lambda _: None)


def test_a_server_that_is_down_can_make_failures_instead(stub: TfServingGrpcStub) -> None:
    """Before the first answer and after it."""
    handler = TFServingModelHandler(stub.uri(), retry_deadline_s=0.01, on_unavailable="dead_letter")
    model = handler.load_model()
    stub.down()
    [before] = handler.run_inference([x(1)], model)
    stub.up()
    [between] = handler.run_inference([x(1)], model)
    stub.down()
    [after] = handler.run_inference([x(1)], model)
    assert [is_failure(result) for result in (before, between, after)] == [True, False, True]
    assert {before.inference.error_class, after.inference.error_class} == {"Unavailable"}


def test_windows_and_timestamps_are_kept(stub: TfServingGrpcStub) -> None:
    class Where(beam.DoFn):
        def process(
            self, result: PredictionResult, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
        ) -> Iterator[Any]:
            yield float(result.example[0]), float(result.inference["y"][0]), timestamp.micros // 10**6, window

    def stages(rows: Any) -> Any:
        return (
            rows
            | beam.Map(lambda value: TimestampedValue(x(value), value))
            | beam.WindowInto(FixedWindows(10))
            | RunInference(TFServingModelHandler(stub.uri()))
            | beam.ParDo(Where())
            | "Global" >> beam.WindowInto(GlobalWindows())
        )

    def check(found: list[Any]) -> None:
        # Beam's BatchElements gives the elements of a window one timestamp: that is RunInference's, whatever the handler.
        assert sorted((value, y, window) for value, y, _, window in found) == [
            (1.0, 2.5, IntervalWindow(0, 10)),
            (9.0, 6.5, IntervalWindow(0, 10)),
            (12.0, 8.0, IntervalWindow(10, 20)),
        ]

    run([1.0, 12.0, 9.0], stages, check)


def test_beams_metrics_count(stub: TfServingGrpcStub) -> None:
    handler = TFServingModelHandler(stub.uri(), min_batch_size=3)
    result = run([x(1), x(2), x(POISON)], lambda rows: rows | RunInference(handler), lambda _: None)
    metrics = result.metrics().query(beam.metrics.MetricsFilter().with_namespace("BeamML_TFServing"))
    counters = {counter.key.metric.name: counter.committed for counter in metrics["counters"]}
    assert counters["num_inferences"] == 3
    assert counters.get("failed_batches_counter", 0) == 0
    [size] = [d.committed for d in metrics["distributions"] if d.key.metric.name == "inference_request_batch_byte_size"]
    assert size.sum == 3 * 4


def test_a_fixed_batch_dimension_makes_several_requests(stub: TfServingGrpcStub) -> None:
    """Batches are Beam's to make; a request's size is the model's to say."""
    stub.model.signatures = {
        name: (_with_batch(found, 2), function) for name, (found, function) in stub.model.signatures.items()
    }
    values = [1.0, 2.0, 3.0, 4.0]
    handler = TFServingModelHandler(stub.uri(), min_batch_size=4)
    run([x(value) for value in values], lambda rows: rows | RunInference(handler), check_halves(values))
    assert stub.faults.batch_sizes == [2, 2]


def _with_batch(signature: Any, size: int) -> Any:
    inputs = {name: dataclasses.replace(spec, shape=(size, 1)) for name, spec in signature.inputs.items()}
    return dataclasses.replace(signature, inputs=inputs)


def test_the_rows_that_a_server_takes_at_most_are_asked_of_it() -> None:
    model = FakeModel()
    model.metadata = dataclasses.replace(model.metadata, max_rows=3)
    with serving(model) as uri:
        handler = UriModelHandler(uri)
        found = handler.run_inference([x(value) for value in range(8)], handler.load_model())
    assert [float(result.inference["y"][0]) for result in found] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert sorted(call.rows for call in model.calls) == [2, 3, 3]


# ---------------------------------------------------------------------- the handler by itself


def test_constructing_and_loading_contact_nobody_and_a_handler_can_be_pickled() -> None:
    model = FakeModel()
    with serving(model) as uri:
        handler = pickle.loads(pickle.dumps(UriModelHandler(uri, max_batch_size=7, min_batch_size=2)))
        loaded = handler.load_model()
        assert (model.metadata_calls, model.calls) == (0, [])
        assert handler.batch_elements_kwargs() == {"min_batch_size": 2, "max_batch_size": 7}
        [result] = handler.run_inference([x(3)], loaded)
        assert result.inference["y"].tolist() == [6]


def test_threads_share_a_loaded_model_each_with_a_connection_of_its_own() -> None:
    """Their requests are under way at the same time, and are all closed when the model is dropped."""
    together = threading.Barrier(4, timeout=20)

    async def behave(call: Call) -> Answer:
        together.wait()  # each in the loop of another thread
        return await doubled(call)

    model = FakeModel(behave)
    with serving(model) as uri:
        handler = UriModelHandler(uri)
        loaded = [handler.load_model()]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                found = pool.map(lambda value: list(handler.run_inference([x(value)], loaded[0])), range(4))
                assert [float(result.inference["y"][0]) for [result] in found] == [0, 2, 4, 6]
        assert model.closed == 4, "those that asked for the metadata"
        loaded.clear()
        assert model.closed == 8


def test_over_grpc_threads_do_not_disturb_one_another(stub: TfServingGrpcStub) -> None:
    """gRPC's asyncio has one poller for all loops of a process."""
    handler = TFServingModelHandler(stub.uri())
    loaded = handler.load_model()

    def work(start: int) -> list[float]:
        rows = [float(value) for value in range(start, start + 50)]
        return [float(result.inference["y"][0]) for row in rows for result in handler.run_inference([x(row)], loaded)]

    with ThreadPoolExecutor(4) as pool:
        for start, found in zip(range(0, 400, 100), pool.map(work, range(0, 400, 100)), strict=True):
            assert found == [0.5 * value + 2 for value in range(start, start + 50)]


def test_a_call_after_a_failed_one_starts_afresh(stub: TfServingGrpcStub) -> None:
    handler = TFServingModelHandler(stub.uri(), retry_deadline_s=0.01)
    loaded = handler.load_model()
    stub.down()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            handler.run_inference([x(1)], loaded)
    stub.up()
    assert [result.inference["y"].tolist() for result in handler.run_inference([x(1)], loaded)] == [[2.5]]


def test_a_model_refresh_goes_on_with_another_uri(stub: TfServingGrpcStub) -> None:
    """Beam's side input names the model by its ``model_id``: here, a URI."""
    with TfServingGrpcStub(StubModel(versions={2: "AVAILABLE"})) as newer:

        def stages(rows: Any) -> Any:
            update = rows.pipeline | "Update" >> beam.Create([ModelMetadata(newer.uri(), "newer")])
            return rows | RunInference(TFServingModelHandler(stub.uri()), model_metadata_pcoll=update)

        def check(found: list[PredictionResult]) -> None:
            assert [result.model_id for result in found] == ["model@2"]

        run([x(1)], stages, check)
    assert stub.faults.requests == 0


def test_inference_args_are_refused_when_the_pipeline_is_made(stub: TfServingGrpcStub) -> None:
    with pytest.raises(ValueError, match="TFServingModelHandler takes no inference_args"):
        run(
            [x(1)],
            lambda rows: rows | RunInference(TFServingModelHandler(stub.uri()), inference_args={"a": 1}),
            lambda _: None,
        )


def test_bytes_are_counted_without_serializing() -> None:
    with serving(FakeModel()) as uri:
        handler = UriModelHandler(uri)
    assert (
        handler.get_num_bytes([{"x": np.zeros((2, 3), np.float32), "t": b"abc"}, [1.0, "ab"], np.float64(1)])
        == 24 + 3 + 10 + 8
    )


# ---------------------------------------------------------------------- one name for each protocol


def test_a_handler_takes_the_uris_of_its_protocol_alone() -> None:
    with serving(FakeModel()) as uri, pytest.raises(ConfigError, match=r"TFServingModelHandler takes grpc://.*not fake://"):
        TFServingModelHandler(uri)
    with pytest.raises(ConfigError, match="unknown form"):
        UriModelHandler("ftp://h/m")
    with pytest.raises(ConfigError, match="the port is missing"):
        TFServingModelHandler("grpc://h/m")


@pytest.mark.parametrize(
    "handler",
    [TFServingModelHandler, OpenInferenceModelHandler, VertexModelHandler, MmsModelHandler, SavedModelHandler],
)
def test_every_protocol_has_schemes_of_its_own(handler: type[UriModelHandler]) -> None:
    assert handler.schemes
    with pytest.raises(ConfigError):
        handler("nothing://h/m")
