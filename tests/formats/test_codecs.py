"""Input formats, and parsing JSON."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from transforms.decode.decoder import Decoder
from transforms.errors import ContractError
from transforms.formats.codecs import JsonError, parse_json, resolve_input_format
from transforms.types import METHOD_CLASSIFY, METHOD_PREDICT, METHOD_REGRESS, KafkaRecord, Signature, TensorSpec

FLOATS = TensorSpec("float32", (-1, 16))
STRING = TensorSpec("string", (-1,))


def predict(**inputs: TensorSpec) -> Signature:
    return Signature("serving_default", METHOD_PREDICT, inputs, {})


UNKNOWN = Signature("serving_default", METHOD_PREDICT, {}, {}, known=False)


@pytest.mark.parametrize(
    ("signature", "asked", "format_"),
    [
        (predict(x=FLOATS), "auto", "json"),
        (predict(x=FLOATS), "json", "json"),
        (predict(x=FLOATS, y=STRING), "auto", "json"),
        (predict(image=STRING), "auto", "bytes"),
        (predict(image=STRING), "json", "json"),
        (predict(image=STRING), "tf_example", "tf_example"),
        (predict(text=TensorSpec("string", (-1, 1))), "auto", "bytes"),
        (predict(text=TensorSpec("string", (1,))), "auto", "bytes"),
        (predict(text=TensorSpec("string", ())), "auto", "bytes"),
        (predict(text=TensorSpec("string", None)), "auto", "bytes"),
        (predict(words=TensorSpec("string", (-1, 5))), "auto", "json"),
        (predict(words=TensorSpec("string", (-1, -1))), "auto", "json"),
        (Signature("c", METHOD_CLASSIFY, {"inputs": STRING}, {}), "auto", "tf_example"),
        (Signature("r", METHOD_REGRESS, {"inputs": FLOATS}, {}), "auto", "tf_example"),
        (UNKNOWN, "auto", "json"),
        (UNKNOWN, "bytes", "bytes"),
    ],
)
def test_auto_follows_the_signature(signature: Signature, asked: str, format_: str) -> None:
    assert resolve_input_format(signature, asked) == format_
    assert Decoder(signature, asked).input_format == format_


@pytest.mark.parametrize(
    ("signature", "asked", "parts"),
    [
        (predict(x=FLOATS), "xml", ["--input_format=xml", "json, bytes, tf_example, avro, protobuf, npy"]),
        (predict(x=FLOATS), "bytes", ["--input_format=bytes", "x: float32[?,16]", "--input_format=json", "--preprocess="]),
        (predict(x=FLOATS), "tf_example", ["--input_format=tf_example", "float32", "--input_format=json"]),
        (predict(a=STRING, b=STRING), "bytes", ["--input_format=bytes", "a: string[?], b: string[?]"]),
        (predict(a=TensorSpec("string", (-1, 5))), "bytes", ["string[?,5]"]),
        (Signature("c", METHOD_CLASSIFY, {"inputs": STRING}, {}), "json", ["--input_format=json", "tf_example", "'c'"]),
        (Signature("c", METHOD_CLASSIFY, {"inputs": STRING}, {}), "bytes", ["tf_example"]),
        (UNKNOWN, "tf_example", ["--input_format=tf_example", "no signature"]),
        (predict(), "auto", ["takes no inputs", "?signature="]),
        (predict(z=TensorSpec("complex64", (-1,))), "json", ["'z'", "complex64", "?signature="]),
    ],
)
def test_what_can_not_fit_is_refused_at_once(signature: Signature, asked: str, parts: list[str]) -> None:
    """The message names the flag, what the model takes, and the cure."""
    with pytest.raises(ContractError) as error:
        Decoder(signature, asked)
    assert [part for part in parts if part not in str(error.value)] == []


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (b'{"x":[1,2.5,true,null,"a"]}', {"x": [1, 2.5, True, None, "a"]}),
        (b' \r\n\t{"x": 1}\n', {"x": 1}),
        (b'{"x":1,"x":2}', {"x": 2}),
        (b"[Infinity,-Infinity]", [math.inf, -math.inf]),
        (b'{"x":1,"x":Infinity}', {"x": math.inf}),
        (b'"\\ud800"', "\ud800"),
        (b"null", None),
    ],
)
def test_json_as_rfc_8259_and_a_little_more(value: bytes, document: object) -> None:
    assert parse_json(value) == document


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_json(b"[NaN]")[0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b'{"x":', "line 1, column"),
        (b'{"x":1}{', "Extra data at line 1, column 8"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b'"secret\xff"', "not UTF-8 at byte 7"),
        (b'\xef\xbb\xbf{"x":1}', "not JSON"),
        (b"nan", "column 1"),
        (b'"\\qsecret"', "Invalid"),
        (b"1e400", "beyond float64"),
        (b"-1" * 1 + b"0" * 5000, "thousands of digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"\x89PNG\r\n\x1a\n", "it is an image: --input_format=bytes"),
    ],
)
def test_what_is_no_json_says_where(value: bytes, message: str) -> None:
    with pytest.raises(JsonError) as error:
        parse_json(value)
    assert message in str(error.value)
    assert "secret" not in str(error.value)


def test_tf_example_records_are_checked() -> None:
    """Serialized examples pass as they are; what is none, or has no features, is a failure of its own."""
    from transforms.clients.wire.tensorflow.example import build_example

    good = build_example({"x": [1.0, 2.0], "name": b"a"})
    values = [good, b"\x89PNG\r\n", b'{"x":1}', b"", None, b"\x98\x06\x01", good]
    records = [KafkaRecord("t", 0, i, None, None, value, []) for i, value in enumerate(values)]
    signature = Signature("c", METHOD_CLASSIFY, {"inputs": STRING}, {})
    chunk = Decoder(signature).decode(records)
    assert {row: failure.error_class for row, failure in chunk.failures.items()} == {
        1: "ExampleError",
        2: "ExampleError",
        3: "EmptyValue",
        4: "Tombstone",
        5: "ExampleError",
    }
    (segment,) = chunk.segments
    assert list(segment.rows) == [0, 6]
    assert segment.tensors["inputs"].tolist() == [good, good]


def test_a_tf_example_input_keeps_its_name_and_without_one_it_is_inputs() -> None:
    from transforms.clients.wire.tensorflow.example import build_example

    record = [KafkaRecord("t", 0, 0, None, None, build_example({"x": 1.0}), [])]
    named = Decoder(predict(examples=STRING), "tf_example").decode(record)
    assert list(named.segments[0].tensors) == ["examples"]
    unnamed = Decoder(Signature("c", METHOD_CLASSIFY, {}, {}), "auto").decode(record)
    assert list(unnamed.segments[0].tensors) == ["inputs"]


def test_nothing_here_imports_tensorflow_or_beam() -> None:
    """Importing them takes longer than the whole start of a pipeline may."""
    code = (
        "import sys; from transforms.encode import encoder, labels; from transforms.decode.decoder import Decoder; "
        "from transforms.types import *; s = Signature('c', METHOD_CLASSIFY, {}, {}); "
        "Decoder(s).decode([KafkaRecord('t', 0, 0, None, None, b'x', [])]); "
        "print([m for m in ('tensorflow', 'apache_beam', 'confluent_kafka') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
