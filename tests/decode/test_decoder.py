"""Decoding by the model's signature: every rule by an example. The properties are in test_decoder_properties.py."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from transforms.clients.tfserving.json import predict_body
from transforms.decode.decoder import Decoder
from transforms.errors import ContractError
from transforms.formats.codecs import parse_json
from transforms.types import METHOD_PREDICT, DecodedChunk, Failure, KafkaRecord, Signature, TensorSpec

Spec = tuple[str, tuple[int, ...] | None]


def signature(inputs: Mapping[str, Spec] | Mapping[str, TensorSpec]) -> Signature:
    specs = {name: s if isinstance(s, TensorSpec) else TensorSpec(*s) for name, s in inputs.items()}
    return Signature("serving_default", METHOD_PREDICT, specs, {})


READS = "|{} behind its path in --features reads it"
DEFAULT = "; |default(JSON) behind its path in --features takes the place of null"
LEFT_OUT = "; |default(null) behind its path in --features leaves it out where it is null"
LOOKUP = "; |lookup(FILE) behind its path in --features makes a number of a category"

UNKNOWN = Signature("serving_default", METHOD_PREDICT, {}, {}, known=False)


def records(*values: bytes | None, timestamps: list[int | None] | None = None) -> list[KafkaRecord]:
    times = timestamps or [1_700_000_000_000 + i for i in range(len(values))]
    return [KafkaRecord("t", 0, i, times[i], None, value, []) for i, value in enumerate(values)]


def decode_one(spec: Spec, value: bytes) -> Any:
    """The row as Python values, or its ``Failure``."""
    chunk = Decoder(signature({"x": spec}), "json").decode(records(value))
    if chunk.failures:
        assert not chunk.segments
        return chunk.failures[0]
    return chunk.segments[0].tensors["x"].tolist()[0]


def outcomes(chunk: DecodedChunk) -> list[list[int]]:
    return [list(segment.rows) for segment in chunk.segments]


@pytest.mark.parametrize(
    ("dtype", "text", "row"),
    [
        ("float32", b"[1,2.5]", [1.0, 2.5]),
        ("float32", b"[0.1,1]", [float(np.float32(0.1)), 1.0]),
        ("float64", b"[0.1,-0.0]", [0.1, -0.0]),
        ("float64", b"[9007199254740993,1]", [9007199254740992.0, 1.0]),
        ("float16", b"[65504,0.1]", [65504.0, float(np.float16(0.1))]),
        ("float32", b"[16777217,1e-50]", [16777216.0, 0.0]),
        ("bfloat16", b"[1,2.5]", [1.0, 2.5]),
        ("int8", b"[-128,127]", [-128, 127]),
        ("uint8", b"[0,255.0]", [0, 255]),
        ("int16", b"[1.0,2.0]", [1, 2]),
        ("int64", b"[9223372036854775807,-9223372036854775808]", [2**63 - 1, -(2**63)]),
        ("int64", b"[9007199254740993,1.0]", [9007199254740993, 1]),
        ("uint64", b"[18446744073709551615,0]", [2**64 - 1, 0]),
        ("int32", b"[1e3,-0.0]", [1000, 0]),
        ("bool", b"[true,false]", [True, False]),
        ("string", '["aé",""]'.encode(), ["aé".encode(), b""]),
        ("string", b'[{"b64":"AAH/"},"b"]', [b"\x00\x01\xff", b"b"]),
        ("string", b'[{"b64":""},{"b64":"YQ=="}]', [b"", b"a"]),
    ],
)
def test_what_can_be_cast_exactly_is_cast(dtype: str, text: bytes, row: list[Any]) -> None:
    assert decode_one((dtype, (-1, 2)), text) == row
    assert decode_one((dtype, (-1, 2)), b'{"id":"an extra field","x":' + text + b"}") == row


def test_nan_and_infinity_are_floats() -> None:
    row = decode_one(("float32", (-1, 3)), b"[NaN,Infinity,-Infinity]")
    assert math.isnan(row[0])
    assert row[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("dtype", "text", "message"),
    [
        ("float32", b"[1,null]", f"x[1]: expected float32, came null{DEFAULT}"),
        ("float32", b"[1,true]", "x[1]: expected float32, came a bool"),
        ("float32", b"[false,1]", "x[0]: expected float32, came a bool"),
        ("float32", b'["warm",1]', f"x[0]: expected float32, came a string{LOOKUP}"),
        ("float32", b'[1,"2"]', f"x[1]: expected float32, came a string that holds a number; {READS.format('number')}"),
        ("int32", b'[" -2.5e3 ",1]', f"x[0]: expected int32, came a string that holds a number; {READS.format('number')}"),
        ("int32", b'["' + b"w" * 101 + b'",1]', "x[0]: expected int32, came a string"),
        ("float32", b'["1_0",1]', f"x[0]: expected float32, came a string{LOOKUP}"),
        ("float32", b'["2026-01-31",1]', f"x[0]: expected float32, came a string that holds a time; {READS.format('time')}"),
        (
            "int64",
            b'["2026-01-31T12:00:00Z",1]',
            f"x[0]: expected int64, came a string that holds a time; {READS.format('time')}",
        ),
        ("float32", b'[1,{"a":1}]', "x[1]: expected float32, came an object"),
        ("float32", b"[1,[2]]", "x[1]: came a list of 1 where its neighbours are not lists"),
        ("float32", b"[1,1e39]", "x[1]: the number is out of range for float32"),
        ("float32", b"[1,-3.5e38]", "x[1]: the number is out of range for float32"),
        ("float16", b"[65520,1]", "x[0]: the number is out of range for float16"),
        ("bfloat16", b"[3.4e38,1]", "x[0]: the number is out of range for bfloat16"),
        ("float64", b"[1" + b"0" * 400 + b",1]", "x[0]: the number is out of range for float64"),
        ("int32", b"[1,1.5]", "x[1]: expected int32, came a number with a fraction"),
        ("int32", b"[1,true]", "x[1]: expected int32, came a bool"),
        ("int32", b"[1,NaN]", "x[1]: expected int32, came NaN"),
        ("int32", b"[Infinity,1]", "x[0]: expected int32, came an infinity"),
        ("int32", b"[2147483648,1]", "x[0]: the number is out of range for int32"),
        ("int64", b"[9223372036854775808,1]", "x[0]: the number is out of range for int64"),
        ("int64", b"[1e300,1]", "x[0]: the number is out of range for int64"),
        ("uint8", b"[1,-1]", "x[1]: the number is out of range for uint8"),
        ("uint64", b"[18446744073709551616,1]", "x[0]: the number is out of range for uint64"),
        ("bool", b"[true,1]", "x[1]: expected true or false, came an integer"),
        ("bool", b'["true",true]', "x[0]: expected true or false, came a string"),
        ("string", b'["a",1]', 'x[1]: expected a string or {"b64": "…"}, came an integer'),
        ("string", b'["a",null]', 'x[1]: expected a string or {"b64": "…"}, came null' + DEFAULT),
        ("string", b'["a",{"b64":"Y"}]', "x[1]: b64 does not hold valid base64"),
        ("string", b'["a",{"b64":"Y Q=="}]', "x[1]: b64 does not hold valid base64"),
        ("string", '["a",{"b64":"é"}]'.encode(), "x[1]: b64 does not hold valid base64"),
        ("string", b'["a",{"b64":7}]', "x[1]: b64 must hold a string, not an integer"),
        ("string", b'["a",{"b64":"YQ==","c":1}]', 'x[1]: expected a string or {"b64": "…"}, came an object'),
        ("string", b'["a","\\ud800"]', "x[1]: the string is not valid Unicode: it has a lone surrogate"),
    ],
)
def test_what_can_not_be_cast_exactly_is_refused(dtype: str, text: bytes, message: str) -> None:
    """The message names the element, what was expected and what came."""
    assert decode_one((dtype, (-1, 2)), b'{"x":' + text + b"}") == Failure("decode", "FieldError", message)


@pytest.mark.parametrize(
    ("shape", "text", "row"),
    [
        ((-1,), b"7", 7.0),
        ((1,), b"7", 7.0),
        ((), b"7", 7.0),
        ((-1, -1), b"[]", []),
        ((-1, -1, 3), b"[]", []),
        ((-1, 2, 2), b"[[1,2],[3,4]]", [[1.0, 2.0], [3.0, 4.0]]),
        ((-1, -1, 1), b"[[1],[2],[3]]", [[1.0], [2.0], [3.0]]),
        (None, b"7", 7.0),
        (None, b"[[[1]]]", [[[1.0]]]),
        (None, b"[[],[]]", [[], []]),
    ],
)
def test_shapes_that_fit(shape: tuple[int, ...] | None, text: bytes, row: Any) -> None:
    assert decode_one(("float32", shape), text) == row


@pytest.mark.parametrize(
    ("shape", "text", "message"),
    [
        ((-1, 16), b"[1,2]", "x: expected float32[16], came a list of 2"),
        ((-1, 16), b"7", "x: expected float32[16], came an integer"),
        ((-1, 16), b"null", f"x: expected float32[16], came null{DEFAULT}"),
        ((-1, 2), b"[[1,2]]", "came lists of shape [1,2]; a record is one row: leave the batch dimension out"),
        ((-1,), b"[7]", "x: expected one float32, came a list of 1; a record is one row: leave the batch dimension out"),
        ((), b"[7]", "leave the batch dimension out"),
        ((-1, 2), b"[[1,2],[3,4]]", "x: expected float32[2], came lists of shape [2,2]"),
        ((-1, -1, 3), b"[[1,2]]", "x: expected float32[?,3], came lists of shape [1,2]"),
        ((-1, -1, -1), b"[]", "x: expected float32[?,?], came a list of 0"),
        ((-1, -1, -1), b"[[1,2],[3]]", "x[1]: came a list of 1 where its neighbours are lists of 2"),
        ((-1, -1, -1), b"[[1,2],3]", "x[1]: came an integer where its neighbours are lists of 2"),
        ((-1, 2, 2), b"[[1,[2]],[3,4]]", "x[0][1]: came a list of 1 where its neighbours are not lists"),
        (None, b"[[1],[]]", "x[1]: came a list of 0 where its neighbours are lists of 1"),
        (None, b"[" * 100 + b"]" * 100, "nested 32 deep or more"),
        ((-1, 16), b"[" * 1000 + b"]" * 1000, "nested 32 deep or more"),
    ],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...] | None, text: bytes, message: str) -> None:
    failure = decode_one(("float32", shape), b'{"x":' + text + b"}")
    assert failure.error_class == "FieldError"
    assert message in failure.message


def test_a_plain_chunk_is_one_segment_of_all_rows() -> None:
    rows = np.random.default_rng(0).random((64, 16)).astype(np.float32)
    decoder = Decoder(signature({"x": ("float32", (-1, 16))}))
    chunk = decoder.decode(records(*[json.dumps({"x": row}).encode() for row in rows.tolist()]))
    (segment,) = chunk.segments
    assert segment.rows == range(64)
    assert segment.tensors["x"].dtype == np.float32
    np.testing.assert_array_equal(segment.tensors["x"], rows)
    assert chunk.failures == {}
    assert chunk.documents is None


@pytest.mark.parametrize(
    "bad", [b'{"x":[1]}', b"{", None, b"", b'{"x":[1,"2"]}', b'{"x":[1,true]}', b'{"y":1}', b"[]", b"3"]
)
@pytest.mark.parametrize("where", [0, 7, 15])
def test_a_bad_record_takes_no_other_with_it(bad: bytes | None, where: int) -> None:
    values: list[bytes | None] = [b'{"x":[%d,1.5]}' % i for i in range(16)]
    values[where] = bad
    chunk = Decoder(signature({"x": ("float32", (-1, 2))})).decode(records(*values))
    good = [i for i in range(16) if i != where]
    assert list(chunk.failures) == [where]
    assert outcomes(chunk) == [good]
    assert chunk.segments[0].tensors["x"][:, 0].tolist() == good


def test_null_and_empty_values_have_classes_of_their_own_in_every_format() -> None:
    for input_format, dtype in (("json", "float32"), ("bytes", "string"), ("tf_example", "string")):
        chunk = Decoder(signature({"x": (dtype, (-1,))}), input_format).decode(records(None, b""))
        assert [chunk.failures[row].error_class for row in (0, 1)] == ["Tombstone", "EmptyValue"]
        assert chunk.segments == []


def test_several_inputs_come_by_name() -> None:
    two = Decoder(signature({"a": ("int32", (-1,)), "b": ("string", (-1, 2))}))
    chunk = two.decode(records(b'{"b":["u","v"],"a":1,"id":9}', b'{"a":2,"b":["w","x"]}'))
    assert chunk.segments[0].rows == range(2)
    assert chunk.segments[0].tensors["a"].tolist() == [1, 2]
    assert chunk.segments[0].tensors["b"].tolist() == [[b"u", b"v"], [b"w", b"x"]]


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (b'{"a":1}', ["b: missing", "string[2]", "fields of the record: a"]),
        (b'{"A":1,"b":["u","v"]}', ["a: missing", "one int32", "fields of the record: A, b"]),
        (b"{}", ["a: missing", "fields of the record: none"]),
        (b"[1,2]", ["an object with the fields a: one int32, b: string[2]", "came a list of 2"]),
        (b'{"b64":"YQ=="}', ["came a b64 object"]),
        (b"null", ["came null"]),
        (b"7", ["came an integer"]),
        (b'{"a":1,"b":["u"]}', ["b: expected string[2], came a list of 1"]),
        (json.dumps({f"f{i}": 1 for i in range(20)}).encode(), ["f7 and 12 more"]),
    ],
)
def test_what_is_missing_is_named_with_what_came(value: bytes, parts: list[str]) -> None:
    two = Decoder(signature({"a": ("int32", (-1,)), "b": ("string", (-1, 2))}))
    failure = two.decode(records(value)).failures[0]
    assert failure.error_class == "FieldError"
    assert [part for part in parts if part not in failure.message] == []


def test_an_input_with_a_default_may_be_left_out() -> None:
    """Rows without it make a group of their own; a null is not leaving it out."""
    inputs = {"x": TensorSpec("float32", (-1,)), "t": TensorSpec("float32", (-1,), has_default=True)}
    decoder = Decoder(signature(inputs))
    values = [b'{"x":1}', b'{"x":2,"t":1}', b'{"x":3}', b'{"x":4,"t":null}']
    chunk = decoder.decode(records(*values))
    assert outcomes(chunk) == [[0, 2], [1]]
    assert [sorted(segment.tensors) for segment in chunk.segments] == [["x"], ["t", "x"]]
    assert chunk.segments[0].key != chunk.segments[1].key
    assert chunk.failures[3].message == f"t: expected float32, came null{LEFT_OUT}"
    only = decoder.decode(records(values[0], values[2]))
    assert only.segments[0].rows == range(2)
    assert only.segments[0].key == chunk.segments[0].key


def test_an_object_without_any_input_is_refused_even_if_all_have_defaults() -> None:
    decoder = Decoder(signature({"t": TensorSpec("float32", (-1,), has_default=True)}))
    chunk = decoder.decode(records(b'{"id":1}', b"{}", b"5", b'{"t":5}'))
    assert chunk.failures[0].message == "has none of the inputs (t); fields of the record: id"
    assert sorted(chunk.failures) == [0, 1]
    assert outcomes(chunk) == [[2, 3]]


def test_an_object_whose_only_key_is_b64_is_data_never_named_inputs() -> None:
    """TensorFlow Serving's rule, even for an input of that name."""
    assert decode_one(("string", (-1,)), b'{"b64":"YQ=="}') == b"a"
    named = Decoder(signature({"b64": ("string", (-1,))}), "json")
    chunk = named.decode(records(b'{"b64":"YQ=="}', b'{"b64":"YQ==","id":1}', b'{"b64":{"b64":"YQ=="}}'))
    assert chunk.segments[0].tensors["b64"].tolist() == [b"a", b"YQ=="]
    assert "b64 must hold a string" in chunk.failures[2].message


def test_rows_of_different_shapes_are_grouped_not_failed() -> None:
    chunk = Decoder(signature({"x": ("float32", (-1, -1))})).decode(
        records(b"[1]", b"[1,2]", b"[3]", b'{"x":[]}', b"[4,5]", b"[[1]]")
    )
    assert outcomes(chunk) == [[0, 2], [1, 4], [3]]
    assert [segment.tensors["x"].shape for segment in chunk.segments] == [(2, 1), (2, 2), (1, 0)]
    assert len({segment.key for segment in chunk.segments}) == 3
    assert list(chunk.failures) == [5]


@pytest.mark.parametrize("dtype", ["float32", "string"])
def test_lengths_that_add_up_never_shift_values_to_a_neighbour(dtype: str) -> None:
    """2 + 1 + 3 elements are as many as 3 rows of 2."""
    texts = [b'["1","2"]', b'["3"]', b'["4","5","6"]'] if dtype == "string" else [b"[1,2]", b"[3]", b"[4,5,6]"]
    free = Decoder(signature({"x": (dtype, (-1, -1))}), "json").decode(records(*texts))
    assert outcomes(free) == [[0], [1], [2]]
    fixed = Decoder(signature({"x": (dtype, (-1, 2))}), "json").decode(records(*texts))
    assert outcomes(fixed) == [[0]]
    assert sorted(fixed.failures) == [1, 2]


def test_equal_groups_of_different_chunks_have_equal_keys() -> None:
    decoder = Decoder(signature({"x": ("float32", (-1, -1))}))
    plain = decoder.decode(records(b"[1,2]", b"[3,4]")).segments[0]
    mixed = decoder.decode(records(b"[1]", b"[1,2]", b"{")).segments[1]
    assert plain.key == mixed.key
    assert hash(plain.key) == hash(mixed.key)


def test_windows_never_share_a_segment() -> None:
    decoder = Decoder(signature({"x": ("float32", (-1,))}), window_seconds=1.5)
    times = [0, 1499, 1500, None, 2999, 3000, -1]
    chunk = decoder.decode(records(*[b"%d" % i for i in range(7)], timestamps=times))
    assert outcomes(chunk) == [[0, 1], [2, 4], [3], [5], [6]]
    assert [segment.tensors["x"].tolist() for segment in chunk.segments] == [[0, 1], [2, 4], [3], [5], [6]]
    assert len({segment.key for segment in chunk.segments}) == 5
    other = decoder.decode(records(b"1", b"2", timestamps=[10, 20])).segments[0]
    assert other.key == chunk.segments[0].key
    assert other.rows == range(2)


@pytest.mark.parametrize("seconds", [0, -1, 0.0001, math.nan])
def test_a_window_needs_a_length(seconds: float) -> None:
    with pytest.raises(ContractError, match="--window_seconds"):
        Decoder(signature({"x": ("float32", (-1,))}), window_seconds=seconds)


def test_bytes_go_as_they_are() -> None:
    chunk = Decoder(signature({"image": ("string", (-1,))})).decode(records(b"\x89PNG\x00", None, b"\x00"))
    assert outcomes(chunk) == [[0, 2]]
    array = chunk.segments[0].tensors["image"]
    assert array.dtype == object
    assert array.tolist() == [b"\x89PNG\x00", b"\x00"]
    column = Decoder(signature({"text": ("string", (-1, 1))})).decode(records(b"a", b"b"))
    assert column.segments[0].tensors["text"].tolist() == [[b"a"], [b"b"]]
    assert column.segments[0].rows == range(2)


def test_an_unknown_signature_takes_json_as_it_is() -> None:
    """Lists of equal length stay lists: an array of them would change what is sent."""
    values = [b"[1,2]", b"[3,4]", b'{"a":{"b64":"YQ=="}}', b"null", b'"s"', b"[[", b"true"]
    chunk = Decoder(UNKNOWN).decode(records(*values))
    (segment,) = chunk.segments
    assert list(segment.rows) == [0, 1, 2, 3, 4, 6]
    array = segment.tensors["instances"]
    assert array.dtype == object
    assert array.shape == (6,)
    assert array.tolist() == [[1, 2], [3, 4], {"a": {"b64": "YQ=="}}, None, "s", True]
    assert chunk.failures[5].error_class == "JsonError"


def test_an_unknown_signature_takes_bytes_in_base64() -> None:
    chunk = Decoder(UNKNOWN, "bytes").decode(records(b"\x00\xff"))
    assert chunk.segments[0].tensors["instances"].tolist() == [{"b64": "AP8="}]


@pytest.mark.parametrize("bad", [b'{"a":' * 300 + b"1" + b"}" * 300, b'["\\ud800"]', b'[%d,"\\ud800"]' % 2**70])
def test_what_could_not_be_serialized_again_is_a_failure_of_its_record(bad: bytes) -> None:
    """The request of its whole batch would fail."""
    wide = b"[" + b"[]," * 500 + b"[]]"
    chunk = Decoder(UNKNOWN).decode(records(wide, bad, b"[NaN]", b"{"))
    assert outcomes(chunk) == [[0, 2]]
    assert "can't be sent on" in chunk.failures[1].message
    body = predict_body(chunk.segments[0].tensors, None, None)
    assert len(json.loads(body)["instances"]) == 2
    with pytest.raises(TypeError):
        predict_body({"instances": np.fromiter([parse_json(bad)], object, 1)}, None, None)


def test_documents_are_kept_for_merging() -> None:
    decoder = Decoder(signature({"x": ("float32", (-1,))}), keep_documents=True)
    chunk = decoder.decode(records(b'{"x":1,"id":7}', b"{", b"3", b'{"y":0}', None))
    assert chunk.documents == [{"x": 1, "id": 7}, None, 3, {"y": 0}, None]


def test_merging_needs_json() -> None:
    with pytest.raises(ContractError, match="--output_mode=merge"):
        Decoder(signature({"image": ("string", (-1,))}), keep_documents=True)


def test_no_records_no_segments() -> None:
    for decoder in (Decoder(signature({"x": ("float32", (-1,))})), Decoder(UNKNOWN)):
        assert decoder.decode([]) == DecodedChunk([], [], {}, None)


def test_a_large_row_is_packed_in_pieces() -> None:
    """A picture has more elements than one call to struct should get."""
    picture = np.arange(150 * 130, dtype=np.float32).reshape(150, 130)
    text = json.dumps(picture.tolist()).encode()
    chunk = Decoder(signature({"x": ("float32", (-1, 150, 130))})).decode(records(text, text))
    np.testing.assert_array_equal(chunk.segments[0].tensors["x"], [picture, picture])


def test_a_decoder_can_be_pickled() -> None:
    """Beam sends it to its workers."""
    decoder = pickle.loads(pickle.dumps(Decoder(signature({"x": ("float32", (-1,))}), window_seconds=1)))
    assert decoder.decode(records(b"1")).segments[0].tensors["x"].tolist() == [1.0]
