"""Encoding predictions: values, headers, dead letters, merging."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from transforms.encode.encoder import Encoder
from transforms.errors import ContractError
from transforms.formats.output_schema import OutputSchema
from transforms.types import (
    METHOD_PREDICT,
    METHOD_REGRESS,
    AnsweredSegment,
    Failure,
    KafkaRecord,
    OutputRecord,
    PredictedChunk,
    Signature,
    TensorSpec,
)

Outputs = Mapping[str, Sequence[Any] | np.ndarray]
TEN = [f"c{i}" for i in range(10)]


def objects(*values: Any) -> np.ndarray:
    return np.fromiter(values, object, len(values))


def encoder(**options: Any) -> Encoder:
    return Encoder("out", "dlq", "digits", **options)


def records(*values: bytes | None) -> list[KafkaRecord]:
    return [KafkaRecord("in", 1, 10 + i, 1000 + i, b"k%d" % i, value, []) for i, value in enumerate(values)]


def encode(enc: Encoder, outputs: Outputs, originals: Sequence[bytes] | None = None) -> list[OutputRecord]:
    rows = len(next(iter(outputs.values())))
    source = records(*(originals or [b"{}"] * rows))
    return enc.encode(PredictedChunk(source, [AnsweredSegment(range(rows), outputs, "3", 12.34, 1)], {}))


def values(enc: Encoder, outputs: Outputs, originals: Sequence[bytes] | None = None) -> list[bytes | tuple[str, str]]:
    """The values written, or class and message of the dead letter."""
    found: list[bytes | tuple[str, str]] = []
    for record in encode(enc, outputs, originals):
        headers = {name: (value or b"").decode() for name, value in record.headers}
        if record.failed_stage is None:
            found.append(record.value or b"")
        else:
            assert record.failed_stage == headers["inference.error.stage"] == "encode"
            found.append((headers["inference.error.class"], headers["inference.error.message"]))
    return found


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (np.array([0.1, 3, 1e30, 1e-7], np.float32), ["0.1", "3.0", "1e+30", "1e-7"]),
        (np.array([0.1, 1 / 3]), ["0.1", "0.3333333333333333"]),
        (np.array([0.5, 65504], np.float16), ["0.5", "65504.0"]),
        (np.array([np.nan, np.inf, -np.inf, 1], np.float32), ['"NaN"', '"Infinity"', '"-Infinity"', "1.0"]),
        (np.array([[1, np.nan], [2, 3], [-np.inf, np.inf]]), ['[1.0,"NaN"]', "[2.0,3.0]", '["-Infinity","Infinity"]']),
        (np.array([-(2**63), 2**63 - 1]), ["-9223372036854775808", "9223372036854775807"]),
        (np.array([2**64 - 1], np.uint64), ["18446744073709551615"]),
        (np.array([-128, 127], np.int8), ["-128", "127"]),
        (np.array([True, False]), ["true", "false"]),
        (np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]), ["[[1,2],[3,4]]", "[[5,6],[7,8]]"]),
        (np.zeros((2, 0), np.float32), ["[]", "[]"]),
        (np.zeros((2, 1, 0), np.float32), ["[[]]", "[[]]"]),
        (np.array([1, 2], ">i4"), ["1", "2"]),
        (np.array([[1, 2, 3], [4, 5, 6]], np.float32)[:, ::2], ["[1.0,3.0]", "[4.0,6.0]"]),
        (np.array([1.5], np.longdouble), ["1.5"]),
        (objects(b"cat", "größe".encode(), b""), ['"cat"', '"größe"', '""']),
        (objects(b"\xff\x00", b"null"), ['{"b64":"/wA="}', '"null"']),
        (np.array([[b"a", b"\xff"]], object), ['["a",{"b64":"/w=="}]']),
        (np.array([b"a", b"bc"]), ['"a"', '"bc"']),
        ([["a", b"b"], []], ['["a","b"]', "[]"]),
        ([{"label": "a", "p": float("nan")}, None], ['{"label":"a","p":"NaN"}', "null"]),
        ([[0.5, float("inf")], 2**70], ['[0.5,"Infinity"]', "1180591620717411303424"]),
        (["\ud800", "null"], ['"\\ud800"', '"null"']),
    ],
)
def test_outputs_as_json(column: Any, texts: list[str]) -> None:
    """Numbers as numbers with their shortest digits, strings as strings, other bytes in base64, NaN by name."""
    assert values(encoder(), {"y": column}) == [b'{"y":' + text.encode() + b"}" for text in texts]


def test_an_output_named_bytes_is_never_text() -> None:
    """TensorFlow Serving's rule, which clients of its REST API know."""
    written = values(encoder(), {"image_bytes": objects(b"cat", b"\xff")})
    assert written == [b'{"image_bytes":{"b64":"Y2F0"}}', b'{"image_bytes":{"b64":"/w=="}}']
    assert values(encoder(), {"image_bytes": [[b"cat"]]}) == [b'{"image_bytes":[{"b64":"Y2F0"}]}']


def test_declared_float32_lists_print_as_float32() -> None:
    """Classification scores come as lists of Python floats; their digits are float32's."""
    wide = float(np.float32(0.1))
    signature = Signature("s", METHOD_PREDICT, {}, {"scores": TensorSpec("float32", (-1, -1))})
    column = [[wide, float("nan")], [1e300], wide, [wide, 1]]
    written = values(encoder(signature=signature), {"scores": column})
    texts = [b'[0.1,"NaN"]', b"[1e+300]", b"0.1", b"[0.10000000149011612,1]"]
    assert written == [b'{"scores":%b}' % text for text in texts]
    assert values(encoder(), {"scores": [[wide]]}) == [b'{"scores":[0.10000000149011612]}']


def test_several_outputs_are_sorted_by_name() -> None:
    """A protobuf map has no order of its own; names may hold anything."""
    outputs = {"b": np.array([1, 2]), 'a%b"': objects(b"x", b"y"), "C": np.array([0.5, 1.5])}
    written = values(encoder(), outputs)
    assert written == [b'{"C":0.5,"a%b\\"":"x","b":1}', b'{"C":1.5,"a%b\\"":"y","b":2}']


def test_a_prediction_carries_the_record_and_what_served_it() -> None:
    (record, _) = encode(encoder(), {"y": np.array([0.5, 1.5])})
    assert record == OutputRecord(
        "out",
        b"k0",
        b'{"y":0.5}',
        [
            ("inference.model", b"digits"),
            ("inference.version", b"3"),
            ("inference.source", b"in/1/10"),
            ("inference.latency_ms", b"12.3"),
            ("inference.attempts", b"1"),
        ],
        1000,
        ("in", 1, 10),
        None,
    )
    assert isinstance(record, OutputRecord)


def test_headers_are_kept_and_those_of_an_earlier_model_replaced() -> None:
    """In a chain of pipelines one of each name must be left; others may repeat and keep their order."""
    headers = [
        ("a", b"1"),
        ("inference.model", b"first"),
        ("a", None),
        ("inference.source", b"x/0/0"),
        ("inference.o", b""),
    ]
    source = [KafkaRecord("in", 0, 0, None, None, b"{}", headers)]
    answer = AnsweredSegment([0], {"y": np.array([1])}, "", 0.04, 12)
    (record,) = encoder().encode(PredictedChunk(source, [answer], {}))
    assert record.headers == [
        ("a", b"1"),
        ("a", None),
        ("inference.o", b""),
        ("inference.model", b"digits"),
        ("inference.version", b""),
        ("inference.source", b"in/0/0"),
        ("inference.latency_ms", b"0.0"),
        ("inference.attempts", b"12"),
    ]
    assert (record.key, record.timestamp_ms) == (None, None)
    assert len(headers) == 5


def test_outcomes_of_any_order_come_in_the_records_order() -> None:
    source = records(*[b"{}"] * 6)
    answers = [
        AnsweredSegment([1, 4], {"y": np.array([1, 4])}, "2", 1.0, 1),
        AnsweredSegment([0, 5], {"y": np.array([0, 5])}, "3", 1.0, 3),
    ]
    failures = {3: Failure("predict", "RejectedError", "no", 2), 2: Failure("decode", "Tombstone", "null")}
    written = encoder().encode(PredictedChunk(source, answers, failures))
    assert [record.source for record in written] == [("in", 1, 10 + i) for i in range(6)]
    assert [record.topic for record in written] == ["out", "out", "dlq", "dlq", "out", "out"]
    assert [record.failed_stage for record in written] == [None, None, "decode", "predict", None, None]
    assert [orjson.loads(written[i].value or b"")["y"] for i in (0, 1, 4, 5)] == [0, 1, 4, 5]
    assert [dict(written[i].headers)["inference.version"] for i in (0, 1)] == [b"3", b"2"]
    assert written[3].value == b"{}"


@pytest.mark.parametrize(
    ("rows", "failed"), [([0], []), ([0, 1, 1], []), ([0, 1, 2], [2]), ([0, 1], [1]), ([0, 0, 1], []), ([], [])]
)
def test_a_row_lost_or_doubled_is_an_error_never_silence(rows: list[int], failed: list[int]) -> None:
    """Inputs = predictions + dead letters, one to one."""
    answer = AnsweredSegment(rows, {"y": np.zeros(len(rows))}, "1", 1.0, 1)
    failures = {row: Failure("predict", "X", "x") for row in failed}
    with pytest.raises(ValueError, match="3 records, but"):
        encoder().encode(PredictedChunk(records(b"", b"", b""), [answer], failures))


def test_a_row_that_json_can_not_hold_is_alone_a_dead_letter() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    written = values(encoder(), {"y": [1, 1 + 2j, deep, "a"], "z": np.arange(4)})
    assert written[0] == b'{"y":1,"z":0}'
    assert written[1] == ("EncodeError", "output 'y' can't be written as JSON: JSON has no form for complex")
    assert written[2] == ("EncodeError", "output 'y' can't be written as JSON: it is nested too deeply")
    assert written[3] == b'{"y":"a","z":3}'


def test_a_prediction_too_large_to_write_is_a_dead_letter() -> None:
    written = values(encoder(max_value_bytes=14), {"y": objects(b"123456", b"1234567", b"1")})
    assert written == [
        b'{"y":"123456"}',
        ("RecordTooLarge", "the prediction has 15 bytes; at most 14 are allowed"),
        b'{"y":"1"}',
    ]


def test_encode_failures_tell_their_attempts() -> None:
    answer = AnsweredSegment([0], {"y": [1j]}, "1", 1.0, 4)
    (record,) = encoder().encode(PredictedChunk(records(b"{}"), [answer], {}))
    assert ("inference.error.attempts", b"4") in record.headers


@pytest.mark.parametrize("parsed", [True, False])
def test_merge_keeps_the_original_byte_for_byte(parsed: bool) -> None:
    """Numbers keep their digits, repeated keys stay; what is no object goes under ``input``."""
    originals = [b' {"id":12345678901234567890123,"f":1.50, "f":2 } \n', b"{}", b"{ }", b" [1, 2]", b"null", b'"s"']
    expected = [
        b'{"id":12345678901234567890123,"f":1.50, "f":2 ,"prediction":{"y":0}}',
        b'{"prediction":{"y":1}}',
        b'{"prediction":{"y":2}}',
        b'{"input":[1, 2],"prediction":{"y":3}}',
        b'{"input":null,"prediction":{"y":4}}',
        b'{"input":"s","prediction":{"y":5}}',
    ]
    chunk = PredictedChunk(records(*originals), [AnsweredSegment(range(6), {"y": np.arange(6)}, "1", 1, 1)], {})
    if parsed:
        chunk.documents = [json.loads(original) for original in originals]
    assert [record.value for record in encoder(output_mode="merge").encode(chunk)] == expected


def test_merge_never_overwrites() -> None:
    written = values(
        encoder(output_mode="merge"),
        {"y": np.arange(4)},
        [b'{"prediction":1}', b'{"a":{"prediction":1}}', b'{"pr\\u0065diction":1}', b"\xff"],
    )
    assert isinstance(written[0], tuple)
    assert written[0][0] == "FieldCollision"
    assert "--output_mode=prediction" in written[0][1]
    assert written[1] == b'{"a":{"prediction":1},"prediction":{"y":1}}'
    assert written[2] == written[0]
    assert isinstance(written[3], tuple)
    assert written[3][0] == "MergeError"


def test_a_dead_letter_of_a_merge_is_the_untouched_original() -> None:
    (record,) = encode(encoder(output_mode="merge"), {"y": np.arange(1)}, [b' {"prediction":1}'])
    assert (record.topic, record.value) == ("dlq", b' {"prediction":1}')


@pytest.mark.parametrize(
    ("options", "outputs", "parts"),
    [
        ({"output_mode": "both"}, {}, ["--output_mode=both", "prediction, merge"]),
        ({"top_k": 0}, {}, ["--top_k=0", "1 or more"]),
        ({"labels": []}, {}, ["--labels"]),
        ({"labels": TEN}, {"y": ("float32", (-1, 9))}, ["--labels", "10 scores a row", "y: float32[?,9]"]),
        ({"labels": TEN}, {"y": ("int64", (-1, 10))}, ["--labels", "y: int64[?,10]"]),
        ({"top_k": 3}, {"y": ("float32", (-1,))}, ["--top_k", "y: float32[?]"]),
        ({}, {"z": ("complex64", (-1,))}, ["output 'z'", "complex64", "?signature="]),
    ],
)
def test_what_can_not_fit_is_refused_at_once(options: Any, outputs: Any, parts: list[str]) -> None:
    signature = Signature("s", METHOD_PREDICT, {}, {name: TensorSpec(*spec) for name, spec in outputs.items()})
    with pytest.raises(ContractError) as error:
        encoder(signature=signature, **options)
    assert [part for part in parts if part not in str(error.value)] == []


@pytest.mark.parametrize("shape", [(-1, 10), (-1, -1), None])
def test_what_may_fit_is_taken(shape: tuple[int, ...] | None) -> None:
    encoder(labels=TEN, signature=Signature("s", METHOD_PREDICT, {}, {"y": TensorSpec("float32", shape)}))
    encoder(labels=TEN, signature=Signature("s", METHOD_PREDICT, {}, {}, known=False))
    encoder(signature=Signature("s", METHOD_REGRESS, {}, {"outputs": TensorSpec("float32", (-1,))}))


def test_an_encoder_can_be_pickled() -> None:
    """Beam sends it to its workers."""
    copy = pickle.loads(pickle.dumps(encoder(labels=["a", "b"], output_mode="merge")))
    assert values(copy, {"s": np.eye(2)}) == values(encoder(labels=["a", "b"], output_mode="merge"), {"s": np.eye(2)})


def test_what_a_server_says_of_itself_is_one_short_line_of_a_header() -> None:
    """Also where UTF-8 can't hold it."""
    chunk = PredictedChunk(
        records(b"{}"), [AnsweredSegment(range(1), {"y": np.ones(1)}, "\x1b[2J\ud800" + "x" * 10**6, 1, 1)], {}
    )
    [record] = encoder().encode(chunk)
    version = dict(record.headers)["inference.version"] or b""
    assert version.startswith(rb"\x1b[2J\ud800xxx")
    assert len(version) < 600


def test_names_and_texts_that_utf_8_can_not_hold_harm_nobody() -> None:
    [named] = values(encoder(), {"y\ud800": np.ones(1), "z": np.ones(1)})
    [text] = values(encoder(), {"y": ["a\ud800"]})
    for found in (named, text):
        assert isinstance(found, bytes)
        json.loads(found)


def test_a_schema_takes_what_json_would_say() -> None:
    """Behind the registry's frame; what does not fit is a dead letter with the input's value, and concerns no other row."""
    fields = [{"name": "y", "type": ["null", "int"], "default": None}]
    text = json.dumps({"type": "record", "name": "P", "fields": fields})
    enc = pickle.loads(pickle.dumps(encoder(schema=OutputSchema("avro", 7, text))))
    assert values(enc, {"y": [1, 2**40, None]}) == [
        b"\0\0\0\0\7\2\2",
        ("EncodeError", "the prediction does not fit its schema (id 7): field y: beyond -2147483648 to 2147483647"),
        b"\0\0\0\0\7\0",
    ]
    assert encode(enc, {"y": [2**40]}, [b"original"])[0].value == b"original"
    own = encoder(schema=OutputSchema("avro", 7, text, closed=True), postprocess=lambda fields: {"z": fields["y"]})
    [(kind, message)] = [found for found in values(own, {"y": [1]}) if isinstance(found, tuple)]
    assert kind == "EncodeError"
    assert message.endswith("(id 7): it has a field that the schema has not")
