"""The REST API against what ``docs/tensorflow_serving.md`` says of TensorFlow Serving, fact by fact."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from tests.pipeline.embedded.servers import TESTDATA, Served, needs_testdata

TWO = "/v1/models/half_plus_two_2_versions"
KINDS = "/v1/models/kinds"


def ok(answer: tuple[int, bytes]) -> Any:
    """Returns the parsed body of a 200."""
    status, body = answer
    assert status == 200, body
    return json.loads(body)


def refused(answer: tuple[int, bytes], status: int = 400) -> str:
    """Returns the error text of a refused request."""
    assert answer[0] == status, answer
    error = json.loads(answer[1])
    assert list(error) == ["error"]
    return str(error["error"])


def on(signature: str, **body: Any) -> dict[str, Any]:
    return {"signature_name": signature, **body}


@needs_testdata
def test_rows_and_columns(served: Served) -> None:
    """Fact 1: instances → predictions, inputs → outputs, never both."""
    assert ok(served.rest(f"{TWO}:predict", {"instances": [1.0, 2.0, 5.0]})) == {"predictions": [2.5, 3.0, 4.5]}
    assert ok(served.rest(f"{TWO}:predict", {"inputs": [[1.0], [2]]})) == {"outputs": [[2.5], [3.0]]}
    assert "only one of" in refused(served.rest(f"{TWO}:predict", {"instances": [1], "inputs": [1]}))
    assert "Missing 'inputs' or 'instances' key" in refused(served.rest(f"{TWO}:predict", {}))


@needs_testdata
def test_classify_and_regress_answer_results(served: Served) -> None:
    """Fact 1: their key is results; the context is part of every example."""
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}, {"x": [2.0]}]}
    assert ok(served.rest(f"{TWO}:classify", body)) == {"results": [[["", 2.5]], [["", 3.0]]]}
    regress = on("regress_x_to_y", examples=[{"x": 2.0}])
    assert ok(served.rest(f"{TWO}:regress", regress)) == {"results": [3.0]}
    with_context = on("regress_x_to_y", context={"x": 4.0}, examples=[{}, {}])
    assert ok(served.rest(f"{TWO}:regress", with_context)) == {"results": [4.0, 4.0]}


@needs_testdata
def test_not_a_number_and_infinity(served: Served) -> None:
    """Fact 2: bare NaN and Infinity both ways; quoted is no number."""
    status, body = served.rest(f"{TWO}:predict", b'{"instances": [NaN, Infinity, -Infinity]}')
    assert status == 200
    assert b"[NaN, Infinity, -Infinity]" in body
    message = refused(served.rest(f"{TWO}:predict", {"instances": ["NaN"]}))
    assert "Type: String is not of expected type: float" in message


@needs_testdata
def test_forms_of_floats(served: Served) -> None:
    """Fact 3: 3.0 and 9e+06, and as many digits as are needed to read the same float back."""
    body = served.rest(f"{TWO}:predict", b'{"instances": [2.0, 17999996.0, 0.2469134, 1e-9]}')[1]
    assert b"[3.0, 9e+06, 2.12345672, 2.0]" in body
    assert np.float32(json.loads(body)["predictions"][2]) == np.float32(0.2469134) / 2 + 2


def test_strings_and_bytes(served: Served) -> None:
    """Fact 4: base64 only for names that end in _bytes; {"b64"} is data, not a named input."""
    raw = b"\xff\x00\x89PNG"
    encoded = base64.b64encode(raw).decode()
    body = on("strings", instances=["héllo", {"b64": base64.b64encode(b"hi").decode().rstrip("=")}])
    assert ok(served.rest(f"{KINDS}:predict", body)) == {
        "predictions": [
            {"raw_bytes": {"b64": base64.b64encode("héllo".encode()).decode()}, "text": "héllo"},
            {"raw_bytes": {"b64": "aGk="}, "text": "hi"},
        ]
    }
    status, answer = served.rest(f"{KINDS}:predict", on("strings", inputs={"b64": encoded}))
    assert status == 200
    assert b'"text": "\xff\\u0000\x89PNG"' in answer  # bytes that are no text go out as they are
    assert encoded.encode() in answer
    assert "base64" in refused(served.rest(f"{KINDS}:predict", on("one_string", instances=[{"b64": "@@"}])))
    message = refused(served.rest(f"{KINDS}:predict", on("one_string", inputs=[{"b64": "aGk=", "more": 1}])))
    assert "not formatted correctly for base64" in message


def test_rows_of_several_inputs(served: Served) -> None:
    """Fact 5: rows carry exactly the signature's names; columns may carry more."""
    row = {"a": [1, 2], "b": 3}
    assert ok(served.rest(f"{KINDS}:predict", {"instances": [row, row]})) == {
        "predictions": [{"doubled": 6, "total": 6.0}] * 2
    }
    assert "keys must be equal to: a,b" in refused(served.rest(f"{KINDS}:predict", {"instances": [{"a": [1, 2]}]}))
    extra = refused(served.rest(f"{KINDS}:predict", {"instances": [{**row, "c": 1}]}))
    assert "does not have named input: c" in extra
    assert "expecting list of objects" in refused(served.rest(f"{KINDS}:predict", {"instances": [[1, 2]]}))
    columns = {"inputs": {"a": [[1, 2]], "b": [3], "c": "ignored"}}
    assert ok(served.rest(f"{KINDS}:predict", columns)) == {"outputs": {"doubled": [6], "total": [6.0]}}
    assert "Missing named input: b" in refused(served.rest(f"{KINDS}:predict", {"inputs": {"a": [[1, 2]]}}))


def test_scalar_output(served: Served) -> None:
    """Fact 6: no rows, so 400 in row form; columns are fine, and one output is bare."""
    message = refused(served.rest(f"{KINDS}:predict", on("total", instances=[1, 2, 3])))
    assert message == "Tensor name: total has no shape information "
    assert ok(served.rest(f"{KINDS}:predict", on("total", inputs=[1, 2, 3]))) == {"outputs": 6.0}


@pytest.mark.parametrize("value", ["1.0", "true", "null", '"1"', "NaN", "9223372036854775808"])
def test_not_an_int(served: Served, value: str) -> None:
    """Fact 7: an int takes whole numbers only."""
    body = b'{"signature_name": "echo_int64", "instances": [%s]}' % value.encode()
    assert "is not of expected type: int64" in refused(served.rest(f"{KINDS}:predict", body))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *(("int32", 2**31), ("int8", -(2**31) - 1), ("uint32", -1), ("uint32", 2**32), ("uint64", -1), ("bool", 1)),
        *(("float32", True), ("string", 1), ("int64", {"b64": "aGk="})),
    ],
)
def test_beyond_the_dtype(served: Served, dtype: str, value: Any) -> None:
    """Fact 7: what the JSON type can't hold is refused, naming the dtype; the small ints are read as int32."""
    message = refused(served.rest(f"{KINDS}:predict", on(f"echo_{dtype}", instances=[value])))
    assert f"is not of expected type: {dtype.replace('float32', 'float')}" in message


def test_range_of_numbers(served: Served) -> None:
    """Fact 7: a float that is too large becomes infinite, a small int wraps, both in silence."""
    body = served.rest(f"{KINDS}:predict", b'{"signature_name": "echo_float32", "instances": [1e39, -1e39]}')[1]
    assert b"[Infinity, -Infinity]" in body
    assert ok(served.rest(f"{KINDS}:predict", on("echo_uint8", instances=[300]))) == {"predictions": [44]}
    largest = [2**64 - 1, 0]
    assert ok(served.rest(f"{KINDS}:predict", on("echo_uint64", instances=largest))) == {"predictions": largest}
    assert "too big" in refused(served.rest(f"{KINDS}:predict", b'{"instances": [1e999]}'))


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "uint16", "complex64", "complex128"])
def test_dtypes_that_rest_can_not_carry(served: Served, dtype: str) -> None:
    """Fact 7: 501 in columnar form; in row form the code is lost on the way (json_tensor.cc) and it is 400."""
    message = refused(served.rest(f"{KINDS}:predict", on(f"echo_{dtype}", inputs=[1])), 501)
    assert f"to type: {dtype}" in message
    assert "UNIMPLEMENTED" in refused(served.rest(f"{KINDS}:predict", on(f"echo_{dtype}", instances=[1])))


def test_empty(served: Served) -> None:
    """Fact 8: no instances is 400, an empty batch in columnar form answers an empty list."""
    assert "No values in 'instances'" in refused(served.rest(f"{KINDS}:predict", on("echo_float32", instances=[])))
    assert ok(served.rest(f"{KINDS}:predict", on("echo_float32", inputs=[]))) == {"outputs": []}
    assert "empty array" in refused(served.rest(f"{KINDS}:classify", {"examples": []}))


def test_forms_of_errors(served: Served) -> None:
    """Fact 9: JSON with one key; nothing at all for an impossible version; no JSON outside /v1/."""
    assert served.rest(f"{KINDS}/versions/99999999999999999999:predict", {"instances": [1]}) == (400, b"")
    status, body = served.rest("/metrics")
    assert status == 404
    assert b"404 Not Found" in body
    assert "Malformed request: PUT /v1/models/kinds" in refused(served.rest(KINDS, b"{}", "PUT"))
    assert "Malformed request: POST" in refused(served.rest(f"{KINDS}:transform", b"{}"))
    assert "Missing model name" in refused(served.rest("/v1/models"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b"[1]", "Is not object"),
        (b'{"instances": [1', "JSON Parse error"),
        (b"\xff{}", "JSON Parse error"),
        (b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON Parse error"),
        (b'{"signature_name": 1, "instances": [1]}', "must be a string value"),
        (b'{"instances": 5}', "to be an list/array"),
        (b'{"signature_name": "ragged", "instances": [[1, 2], [1]]}', "Expecting tensor size: 2 but got: 1"),
        (b'{"signature_name": "ragged", "inputs": [[1, 2], [1]]}', "unexpected size: 1 at level: 1 expected size: 2"),
        (b'{"signature_name": "ragged", "inputs": [[1, [2]]]}', "unexpected level: 2"),
        (b'{"signature_name": "ragged", "inputs": [[1], 2]}', "incorrect level: 2"),
    ],
)
def test_malformed_bodies(served: Served, body: bytes, message: str) -> None:
    """Whatever the body, the answer is a 400 that says what was wrong."""
    assert message in refused(served.rest(f"{KINDS}:predict", body))


def test_text_behind_the_document_is_ignored(served: Served) -> None:
    """rapidjson stops when the document is done (kParseStopWhenDoneFlag)."""
    assert served.rest(f"{KINDS}:predict", b' {"signature_name": "ragged", "instances": [[1]]} rest')[0] == 200


def test_large_bodies(served: Served) -> None:
    """A body of several megabytes is nothing special."""
    rows = [[float(i % 7)] * 1000 for i in range(1000)]
    status, body = served.rest(f"{KINDS}:predict", on("ragged", instances=rows))
    assert status == 200
    assert json.loads(body)["predictions"] == [1000.0 * (i % 7) for i in range(1000)]


@needs_testdata
def test_metadata_is_what_tensorflow_serving_publishes(served: Served) -> None:
    """Fact 11, and the whole document: equal to TensorFlow Serving's own test data."""
    expected = json.loads((TESTDATA / "saved_model_half_plus_two_2_versions_metadata.json").read_text())
    version = expected["model_spec"]["version"]
    name = "half_plus_two_2_versions"
    got = ok(served.rest(f"/v1/models/{name}/versions/{version}/metadata"))
    assert got["model_spec"] == {**expected["model_spec"], "name": name}
    assert got["metadata"] == expected["metadata"]
    tf2 = json.loads((TESTDATA / "saved_model_half_plus_two_tf2_2_versions_metadata.json").read_text())
    got = ok(served.rest("/v1/models/half_plus_two_tf2_cpu/metadata"))
    for document in (got, tf2):  # that file is of a model, and of a time, without default values
        for signature in document["metadata"]["signature_def"]["signature_def"].values():
            signature.pop("defaults", None)
    assert got["metadata"] == tf2["metadata"]


@needs_testdata
def test_status(served: Served) -> None:
    """Fact 11: versions are strings, the newest first; a version can be asked for."""
    good = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert ok(served.rest(TWO)) == {"model_version_status": [{"version": "124", **good}, {"version": "123", **good}]}
    assert ok(served.rest(f"{TWO}/versions/123")) == {"model_version_status": [{"version": "123", **good}]}
    assert "Could not find any versions of model nobody" in refused(served.rest("/v1/models/nobody"), 404)
    assert "Could not find version 5" in refused(served.rest(f"{TWO}/versions/5"), 404)


@needs_testdata
def test_versions_and_labels(served: Served) -> None:
    """Fact 13: by version, by label, and the newest by default."""
    one = {"instances": [1.0]}
    for choice in ("", "/versions/123", "/versions/124", "/labels/stable"):
        assert ok(served.rest(f"{TWO}{choice}:predict", one)) == {"predictions": [2.5]}
    assert ok(served.rest(f"{TWO}/labels/stable/metadata"))["model_spec"]["version"] == "123"
    assert ok(served.rest(f"{TWO}/metadata"))["model_spec"]["version"] == "124"
    assert ok(served.rest("/V1/Models/half_plus_two_2_versions:Predict", one))  # paths match whatever their case
    assert "Unrecognized servable version label: x" in refused(served.rest(f"{TWO}/labels/x:predict", one))
    assert "Specific(half_plus_two_2_versions, 7)" in refused(served.rest(f"{TWO}/versions/7:predict", one), 404)
    assert "Latest(nobody)" in refused(served.rest("/v1/models/nobody:predict", one), 404)
    for method, body in (("predict", one), ("classify", {"examples": [{}]}), ("regress", {"examples": [{}]})):
        assert "no_such" in refused(served.rest(f"{TWO}:{method}", on("no_such", **body)))


@needs_testdata
def test_no_inputs_and_scalar_inputs(served: Served) -> None:
    """Fact 18: REST can't call a signature without inputs; a scalar input is columnar."""
    message = refused(served.rest("/v1/models/counter:predict", on("get_counter", inputs={})))
    assert message == "Failed to get input map for signature: get_counter"
    assert ok(served.rest("/v1/models/half_plus_three:predict", {"inputs": 2.0})) == {"outputs": 4.0}


@needs_testdata
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"x": None}, "unexpected JSON type: Null"),
        ({"x": [[1.0]]}, "unexpected JSON type: Array"),
        ({"x": {"y": 1}}, "unexpected JSON type: Object"),
        ({"x": [1.0, 2]}, "expecting type: float"),
        ({"x": [1, "a"]}, "expecting type: int64"),
        ({"x": 2**63}, "uint64_t"),
        (5, "Example must be JSON object"),
    ],
)
def test_malformed_examples(served: Served, value: Any, message: str) -> None:
    """Classify and Regress say which feature is wrong."""
    assert message in refused(served.rest(f"{TWO}:regress", on("regress_x_to_y", examples=[value])))


@needs_testdata
def test_declared_shapes_are_not_enforced(served: Served) -> None:
    """Fact 12: [3] and [2,2] go through a [-1,1] signature."""
    assert ok(served.rest(f"{TWO}:predict", {"inputs": [1.0, 2.0, 3.0]})) == {"outputs": [2.5, 3.0, 3.5]}
    assert ok(served.rest(f"{TWO}:predict", {"inputs": [[1.0, 2.0], [3.0, 4.0]]})) == {"outputs": [[2.5, 3.0], [3.5, 4.0]]}
