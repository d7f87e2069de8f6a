"""``--features`` and ``--pass_through``: nested documents onto inputs, and values that stand beside the outputs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.formats.decoding import FLOATS, UNKNOWN, X, classes, decode, records, rows_of, takes
from transforms.decode.decoder import Decoder
from transforms.encode.encoder import Encoder
from transforms.errors import ContractError
from transforms.formats.options import FormatOptions, Paths
from transforms.predict.batching import PendingChunk
from transforms.types import AnsweredSegment, DecodedChunk, OutputRecord, PredictedChunk, TensorSpec

ONE = TensorSpec("float32", (-1,))


def dump(*documents: Any) -> list[bytes]:
    return [json.dumps(document).encode() for document in documents]


# ---------------------------------------------------------------------- features


def test_nested_fields_onto_inputs() -> None:
    """An input without a path is the field of its own name."""
    signature = takes(x=FLOATS, y=ONE, z=ONE)
    values = dump(
        {"a": {"b": [1, 2]}, "list": [5, {"y": 3}], "z": 4},
        {"a": {"b": [1, 2]}, "list": [5, {}], "z": 4},
        {"a": {"b": None}, "list": [5, {"y": 3}], "z": 4},
        {"a": {"b": [1, "2"]}, "list": [5, {"y": 3}], "z": 4},
        {"a": {"b": [1, 2]}, "list": [5, {"y": 3}]},
        [1, 2],
        {"a": {"b": [3, 4]}, "list": [5, {"y": 6}], "z": 7, "x": "not asked for"},
    )
    chunk = decode(signature, "json", *values, b"{", features=(("x", "$.a.b"), ("y", "$.list[1].y")))
    assert (rows_of(chunk), rows_of(chunk, "y"), rows_of(chunk, "z")) == ({0: [1, 2], 6: [3, 4]}, {0: 3, 6: 6}, {0: 4, 6: 7})
    assert {row: failure.message for row, failure in chunk.failures.items() if row < 7} == {
        1: "y: missing in the record; $.list[1].y: nothing at $.list[1].y",
        2: "x ($.a.b): expected float32[2], came null; |default(JSON) behind its path in --features takes the place of null",
        3: "x ($.a.b)[1]: expected float32, came a string that holds a number; "
        "|number behind its path in --features reads it",
        4: "z: missing in the record; $.z: nothing at $.z",
        5: "x: missing in the record; $.a.b: nothing at $.a",
    }
    assert classes(chunk) == dict.fromkeys(range(1, 6), "FieldError") | {7: "JsonError"}


def test_a_single_input_may_be_the_whole_document() -> None:
    assert rows_of(decode(X, "json", b"[1, 2]", features=(("x", "$"),))) == {0: [1, 2]}


def test_an_input_with_a_default_may_be_missing() -> None:
    signature = takes(x=FLOATS, y=TensorSpec("float32", (-1,), has_default=True))
    values = dump({"a": [1, 2], "b": 3}, {"a": [1, 2]}, {"a": [5, 6], "b": 7})
    chunk = decode(signature, "json", *values, features=(("x", "$.a"), ("y", "$.b")))
    assert sorted((list(s.rows), sorted(s.tensors)) for s in chunk.segments) == [([0, 2], ["x", "y"]), ([1], ["x"])]


def test_with_features_a_model_of_one_string_takes_documents() -> None:
    """Where auto would take the whole value for the string."""
    signature = takes(text=TensorSpec("string", (-1,)))
    assert rows_of(decode(signature, "auto", *dump({"m": "hello"}), features=(("text", "$.m"),)), "text") == {0: b"hello"}
    assert rows_of(decode(signature, "auto", *dump({"m": "hello"})), "text") == {0: b'{"m": "hello"}'}


def test_a_server_without_a_signature_gets_the_features_by_name() -> None:
    [segment] = decode(UNKNOWN, "json", *dump({"a": {"b": 1}, "c": 2}), features=(("x", "$.a.b"), ("y", "$.c"))).segments
    assert segment.tensors["instances"].tolist() == [{"x": 1, "y": 2}]


def test_features_that_can_not_fit_are_told_at_once() -> None:
    with pytest.raises(ContractError, match="--features: 'z' is no input of 'serving_default', which takes x"):
        decode(X, "json", features=(("z", "$.a"),))
    with pytest.raises(ContractError, match="--pass_through: records of bytes have no fields"):
        decode(takes(t=TensorSpec("string", (-1,))), "bytes", pass_through=(("a", "$.a"),))


# ---------------------------------------------------------------------- pass_through

PATHS: Paths = (("id", "$.meta.id"), ("a b", "$.a"))


def encode(chunk: DecodedChunk, outputs: dict[str, Any], **options: Any) -> list[OutputRecord]:
    """Answers every row that was decoded, through the same steps as Predict, and encodes."""
    pending = PendingChunk.of(chunk).chunk
    rows = [row for segment in chunk.segments for row in segment.rows]
    answers = [AnsweredSegment(rows, outputs, "1", 1.0, 1)] if rows else []
    encoder = Encoder("out", "dlq", "m", pass_through=[name for name, _ in PATHS], **options)
    return encoder.encode(PredictedChunk(pending.records, answers, pending.failures, pending.documents, pending.carried))


def test_values_stand_beside_the_outputs() -> None:
    """Exactly: integers of 64 bits, texts, objects; null where there is nothing; and no record depends on another."""
    values = [
        b'{"x": [1, 2], "meta": {"id": 18446744073709551615}, "a": {"n": [1.5, "\\u00e9"]}}',
        b"{",
        b'{"x": [1, 2], "a": false}',
        b'{"x": [1], "meta": {"id": 4}}',
        b"[3, 4]",
    ]
    chunk = decode(X, "json", *values, pass_through=PATHS)
    found = encode(chunk, {"y": np.array([1.5, 2.5, 3.5], np.float32)})
    assert [record.value for record in found] == [
        b'{"id":18446744073709551615,"a b":{"n":[1.5,"\xc3\xa9"]},"y":1.5}',
        values[1],
        b'{"id":null,"a b":false,"y":2.5}',
        values[3],
        b'{"id":null,"a b":null,"y":3.5}',
    ]
    assert [record.failed_stage for record in found] == [None, "decode", None, "decode", None]


def test_bytes_are_passed_on_as_outputs_are() -> None:
    schema = '{"type":"record","name":"R","fields":[{"name":"x","type":"bytes"},{"name":"a","type":"bytes"}]}'
    signature = takes(x=TensorSpec("string", (-1,)))
    chunk = decode(signature, "avro", b"\x02\xff\x02\xff", b"\x02\xff\x02a", avro_schema=schema, pass_through=PATHS)
    found = encode(chunk, {"y": [1, 2]})
    assert [record.value for record in found] == [b'{"id":null,"a b":{"b64":"/w=="},"y":1}', b'{"id":null,"a b":"a","y":2}']


def test_with_labels_and_with_no_outputs() -> None:
    chunk = decode(X, "json", *dump({"x": [1, 2], "a": 1}), pass_through=PATHS)
    [ranked] = encode(chunk, {"y": np.array([[0.25, 0.75]])}, labels=["no", "yes"], top_k=1)
    assert json.loads(ranked.value or b"") == {
        "id": None, "a b": 1, "label": "yes", "score": 0.75, "top": [{"label": "yes", "score": 0.75}],
    }  # fmt: skip
    [nothing] = encode(chunk, {})
    assert nothing.value == b'{"id":null,"a b":1}'


def test_a_name_that_the_model_uses() -> None:
    """Known from the signature: before anything runs. Not known: a dead letter, not a record with two fields of one name."""
    with pytest.raises(ContractError, match="--pass_through=y: the model's output has this name"):
        Encoder("out", "dlq", "m", signature=X, pass_through=["y"])
    with pytest.raises(ContractError, match="--pass_through=label"):
        Encoder("out", "dlq", "m", labels=["a", "b"], pass_through=["label"])
    chunk = decode(X, "json", *dump({"x": [1, 2]}), pass_through=PATHS)
    [dead] = encode(chunk, {"id": [1]})
    assert dict(dead.headers)["inference.error.class"] == b"FieldCollision"


def test_what_has_no_json_form_is_a_failure_of_its_record() -> None:
    deep = b"[" * 900 + b"]" * 900
    values = [b'{"x": [1, 2], "a": ' + deep + b"}", *dump({"x": [1, 2], "a": 1})]
    chunk = decode(X, "json", *values, pass_through=PATHS)
    found = encode(chunk, {"y": [1.0] * sum(len(segment.rows) for segment in chunk.segments)})
    assert found[-1].failed_stage is None
    assert json.loads(found[-1].value or b"")["a b"] == 1


def test_the_decoder_can_be_pickled() -> None:
    import pickle

    options = FormatOptions(features=(("x", "$.a"),), pass_through=PATHS)
    decoder = pickle.loads(pickle.dumps(Decoder(X, "json", formats=options)))
    assert rows_of(decoder.decode(records(*dump({"a": [1, 2]})))) == {0: [1, 2]}
