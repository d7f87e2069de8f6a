"""The gRPC API against what ``docs/tensorflow_serving.md`` says of TensorFlow Serving, fact by fact."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest

from pipeline.embedded.http_status import HTTP_STATUS
from pipeline.embedded.messages import Input
from tests.pipeline.embedded.rpc import call, failure, floats, predict, strings
from tests.pipeline.embedded.servers import DTYPES, needs_testdata
from transforms.clients.tf_runtime.serving_error import Code
from transforms.clients.tfserving import messages
from transforms.clients.wire.tensorflow.example import build_example
from transforms.clients.wire.tensorflow.messages import SignatureDefMap

TWO = "half_plus_two_2_versions"
StatusCode = grpc.StatusCode


def request_of(model: str, signature: str = "", **inputs: Any) -> Any:
    """Returns a Predict request of float inputs."""
    request = messages.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].dtype = 1
        request.inputs[name].float_val.extend(values)
        request.inputs[name].tensor_shape.dim.add(size=len(values))
    return request


def by_examples(kind: Any, model: str, signature: str, *examples: dict[str, Any]) -> Any:
    request = kind()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    request.input.example_list.examples.extend(build_example(example) for example in examples)
    return request


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_there_and_back(channel: grpc.Channel, dtype: str) -> None:
    """Fact 16: each dtype comes back as it was sent."""
    kinds = {"half": np.float16, "bfloat16": ml_dtypes.bfloat16}
    values = {
        "string": strings(b"", b"\x00\xff" * 40, b"abc"),
        "bool": np.array([True, False, True]),
        "complex64": np.array([1 + 2j, 0, -3j], np.complex64),
        "complex128": np.array([1 + 2j, 0, -3j], np.complex128),
    }
    kind = np.dtype(kinds.get(dtype, dtype)) if dtype not in values else None
    if kind is not None:
        extremes = [np.iinfo(kind).min, 0, np.iinfo(kind).max] if kind.kind in "iu" else [1.5, -0.0, np.inf]
        values[dtype] = np.array(extremes, dtype=kind)
    got = predict(channel, "kinds", f"echo_{dtype}", x=values[dtype])["y"]
    assert got.dtype == values[dtype].dtype
    assert got.tolist() == values[dtype].tolist()


def test_typed_values_repeat_the_last(channel: grpc.Channel) -> None:
    """Fact 16: fewer typed values than the shape has: the last one fills it; none at all: zeros."""
    request = request_of("kinds", "echo_float32", x=[1.0, 2.0])
    request.inputs["x"].tensor_shape.dim[0].size = 4
    assert list(call(channel, messages.PREDICT, request).outputs["y"].float_val) == [1.0, 2.0, 2.0, 2.0]
    del request.inputs["x"].float_val[:]
    assert list(call(channel, messages.PREDICT, request).outputs["y"].float_val) == [0.0] * 4


@pytest.mark.parametrize("change", ["content", "shape", "dtype", "rank", "size"])
def test_tensors_that_can_not_be_read(channel: grpc.Channel, change: str) -> None:
    """A tensor that contradicts itself is INVALID_ARGUMENT, naming the input."""
    request = request_of("kinds", "echo_float32", x=[1.0])
    tensor = request.inputs["x"]
    if change == "content":
        tensor.tensor_content = b"123"
    elif change == "shape":
        tensor.tensor_shape.dim[0].size = -1
    elif change == "dtype":
        tensor.dtype = 0
    elif change == "rank":
        tensor.tensor_shape.unknown_rank = True
    else:
        tensor.tensor_shape.dim[0].size = 2**40
    assert failure(channel, messages.PREDICT, request) == (StatusCode.INVALID_ARGUMENT, "tensor parsing error: x")


def test_inputs_have_to_match(channel: grpc.Channel) -> None:
    """Fact 5: extra and missing inputs are refused over gRPC, with both lists."""
    code, message = failure(channel, messages.PREDICT, request_of("kinds", "echo_float32", x=[1], z=[1]))
    assert code == StatusCode.INVALID_ARGUMENT
    assert message.startswith("input size does not match signature: 2!=1")
    assert "Sent extra: {z}" in message
    code, message = failure(channel, messages.PREDICT, request_of("kinds", "echo_float32", z=[1]))
    assert (code, "Signature input alias: x" in message) == (StatusCode.INVALID_ARGUMENT, True)


def test_default_values(channel: grpc.Channel) -> None:
    """Fact 18: an input with a default may be left out; a name that is none may not be added."""
    assert predict(channel, "kinds", "defaults", x=floats([1, 2]))["total"].tolist() == [11, 12]
    assert predict(channel, "kinds", "defaults", x=floats([1]), y=floats([2]))["total"].tolist() == [3]
    code, message = failure(channel, messages.PREDICT, request_of("kinds", "defaults", y=[1]))
    assert (code, "no default value" in message) == (StatusCode.INVALID_ARGUMENT, True)
    code, message = failure(channel, messages.PREDICT, request_of("kinds", "defaults", x=[1], w=[1]))
    assert (code, "invalid name" in message) == (StatusCode.INVALID_ARGUMENT, True)


def test_wrong_dtype(channel: grpc.Channel) -> None:
    """Fact 13: INVALID_ARGUMENT, as TensorFlow words it."""
    code, message = failure(channel, messages.PREDICT, request_of("kinds", "echo_int64", x=[1.0]))
    assert (code, message) == (StatusCode.INVALID_ARGUMENT, "Expects arg[0] to be int64 but float is provided")


def test_output_filter(channel: grpc.Channel) -> None:
    """Only the wanted outputs are computed; unknown and doubled names are refused."""
    request = request_of("kinds", "serving_default", a=[1.0, 2.0])
    request.inputs["a"].tensor_shape.dim.add(size=2)
    request.inputs["a"].tensor_shape.dim[0].size = 1
    request.inputs["b"].dtype = 9
    request.inputs["b"].int64_val.append(3)
    request.inputs["b"].tensor_shape.dim.add(size=1)
    request.output_filter.append("total")
    assert list(call(channel, messages.PREDICT, request).outputs) == ["total"]
    request.output_filter.append("total")
    assert failure(channel, messages.PREDICT, request)[1] == "duplicate output tensor alias: total"
    request.output_filter[1] = "no"
    assert "alias not found in signature: no" in failure(channel, messages.PREDICT, request)[1]


def test_long_errors_are_cut(channel: grpc.Channel) -> None:
    """Fact 15: 1,024 characters, then ...TRUNCATED."""
    inputs = {f"name_{i}": [1.0] for i in range(200)}
    message = failure(channel, messages.PREDICT, request_of("kinds", "echo_float32", **inputs))[1]
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.endswith("...TRUNCATED")


def test_refused_for_one_row(channel: grpc.Channel) -> None:
    """A model's own assertion is INVALID_ARGUMENT for the whole request."""
    code, message = failure(channel, messages.PREDICT, request_of("kinds", "positive", x=[1.0, -1.0]))
    assert (code, "every x must be 0 or more" in message) == (StatusCode.INVALID_ARGUMENT, True)


def test_tables_are_initialised(channel: grpc.Channel) -> None:
    """The loader runs the model's initialisation."""
    assert predict(channel, "kinds", "lookup", text=strings(b"a", b"b", b"?"))["id"].tolist() == [1, 2, -1]


def test_http_status_of_codes() -> None:
    """Fact 10."""
    expected = {"CANCELLED": 499, "FAILED_PRECONDITION": 400, "RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503}
    expected["DEADLINE_EXCEEDED"] = 504
    assert {name: HTTP_STATUS[Code[name]] for name in expected} == expected
    assert set(HTTP_STATUS) == set(Code)


@needs_testdata
def test_codes_of_unknown_things(channel: grpc.Channel) -> None:
    """Fact 13: model, version, label and signature, for each method."""
    for request, code in (
        (request_of("nobody", x=[1]), StatusCode.NOT_FOUND),
        (request_of("", x=[1]), StatusCode.INVALID_ARGUMENT),
        (messages.PredictRequest(), StatusCode.INVALID_ARGUMENT),
        (request_of(TWO, "no_such", x=[1]), StatusCode.FAILED_PRECONDITION),
    ):
        assert failure(channel, messages.PREDICT, request)[0] == code
    request = request_of(TWO, x=[1])
    request.model_spec.version.value = 99
    assert failure(channel, messages.PREDICT, request)[0] == StatusCode.NOT_FOUND
    request.model_spec.version_label = "none"
    assert failure(channel, messages.PREDICT, request)[0] == StatusCode.INVALID_ARGUMENT
    unknown = by_examples(messages.ClassificationRequest, TWO, "no_such", {"x": 1.0})
    assert failure(channel, messages.CLASSIFY, unknown)[0] == StatusCode.INVALID_ARGUMENT
    unknown = by_examples(messages.RegressionRequest, TWO, "no_such", {"x": 1.0})
    assert failure(channel, messages.REGRESS, unknown)[0] == StatusCode.INVALID_ARGUMENT
    multi = channel.unary_unary("/tensorflow.serving.PredictionService/MultiInference")
    with pytest.raises(grpc.RpcError) as raised:
        multi(b"", timeout=30)
    assert raised.value.code() == StatusCode.UNIMPLEMENTED


@needs_testdata
def test_who_answered(channel: grpc.Channel) -> None:
    """Fact 17: the answer names version and signature, also where the request did not."""
    spec = call(channel, messages.PREDICT, request_of(TWO, x=[1])).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (TWO, 124, "serving_default")
    request = request_of(TWO, x=[1])
    request.model_spec.version_label = "stable"
    assert call(channel, messages.PREDICT, request).model_spec.version.value == 123
    regression = by_examples(messages.RegressionRequest, TWO, "regress_x_to_y2", {"x": 2.0})
    spec = call(channel, messages.REGRESS, regression).model_spec
    assert (spec.version.value, spec.signature_name) == (124, "regress_x_to_y2")


@needs_testdata
def test_classify_and_regress(channel: grpc.Channel) -> None:
    """One result an example; an empty list and a wrong signature are INVALID_ARGUMENT."""
    request = by_examples(messages.ClassificationRequest, TWO, "classify_x_to_y", {"x": 1.0}, {"x": 2.0})
    result = call(channel, messages.CLASSIFY, request).result
    assert [[c.score for c in entry.classes] for entry in result.classifications] == [[2.5], [3.0]]
    request = by_examples(messages.RegressionRequest, TWO, "regress_x_to_y", {"x": 1.0}, {"x": 2.0})
    assert [r.value for r in call(channel, messages.REGRESS, request).result.regressions] == [2.5, 3.0]
    for path, kind in ((messages.CLASSIFY, messages.ClassificationRequest), (messages.REGRESS, messages.RegressionRequest)):
        empty = by_examples(kind, TWO, "classify_x_to_y" if path == messages.CLASSIFY else "regress_x_to_y")
        assert failure(channel, path, empty) == (StatusCode.INVALID_ARGUMENT, "Input is empty.")
        assert failure(channel, path, by_examples(kind, TWO, "", {"x": 1.0}))[0] == StatusCode.INVALID_ARGUMENT
    float_input = by_examples(messages.ClassificationRequest, TWO, "classify_x2_to_y3", {"x2": 1.0})
    code, message = failure(channel, messages.CLASSIFY, float_input)
    assert (code, "to be float but string is provided" in message) == (StatusCode.INVALID_ARGUMENT, True)


@needs_testdata
def test_context_is_part_of_every_example(channel: grpc.Channel) -> None:
    """Regress merges the context into each example (input.proto)."""
    request = messages.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = TWO, "regress_x_to_y"
    context, bare = build_example({"x": 4.0}), build_example({})
    listed = Input()
    listed.example_list_with_context.context = context
    listed.example_list_with_context.examples.extend([bare, bare])
    request.input.MergeFromString(listed.SerializeToString())
    assert [r.value for r in call(channel, messages.REGRESS, request).result.regressions] == [4.0, 4.0]


@needs_testdata
def test_declared_shapes_are_not_enforced(channel: grpc.Channel) -> None:
    """Fact 12: [3] and [2,2] go through a [-1,1] signature."""
    assert predict(channel, TWO, x=floats([1, 2, 3]))["y"].tolist() == [2.5, 3.0, 3.5]
    assert predict(channel, TWO, x=floats([[1, 2], [3, 4]]))["y"].tolist() == [[2.5, 3.0], [3.5, 4.0]]


@needs_testdata
def test_signatures_without_inputs_and_with_scalars(channel: grpc.Channel) -> None:
    """Fact 18: a stateful counter, and x:f[] of half_plus_three."""
    predict(channel, "counter", "reset_counter")
    predict(channel, "counter", "incr_counter")
    assert predict(channel, "counter", "incr_counter_by", delta=floats(3))["output"].tolist() == 4
    assert predict(channel, "counter", "get_counter")["output"].tolist() == 4
    assert predict(channel, "half_plus_three", x=floats(2))["y"].tolist() == 4


def test_metadata_requests(channel: grpc.Channel) -> None:
    """Only signature_def can be asked for, and a model has to be named."""
    request = messages.GetModelMetadataRequest()
    assert failure(channel, messages.GET_MODEL_METADATA, request) == (StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
    request.model_spec.name = "kinds"
    assert "at least one metadata_field" in failure(channel, messages.GET_MODEL_METADATA, request)[1]
    request.metadata_field.append("other")
    assert "Metadata field other is not supported" in failure(channel, messages.GET_MODEL_METADATA, request)[1]
    request.metadata_field[0] = "signature_def"
    response = call(channel, messages.GET_MODEL_METADATA, request)
    assert response.metadata["signature_def"].type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
    assert signatures["fixed"].inputs["x"].tensor_shape.dim[0].size == 4
    assert list(signatures["defaults"].defaults) == ["y"]


def test_many_requests_at_once(channel: grpc.Channel) -> None:
    """Answers do not get mixed up."""

    def ask(i: int) -> bool:
        got = predict(channel, "kinds", "echo_int64", x=np.arange(i, i + 5))["y"]
        return bool((got == np.arange(i, i + 5)).all())

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(500)))
