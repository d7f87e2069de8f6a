"""Predictions by a schema: what is made of a model's outputs, read back, and every value that does not fit."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastavro
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats.avro_output import make_avro_schema
from transforms.formats.avro_schema import SchemaError
from transforms.formats.output_fields import RANKED_FIELDS, Field, parse_types, prediction_fields
from transforms.formats.output_schema import OutputSchema, OutputWriter, writer_of
from transforms.formats.output_values import OutputMismatchError
from transforms.formats.protobuf import ProtobufReader
from transforms.formats.protobuf_file import make_proto_file, proto_text
from transforms.types import TensorSpec

OUTPUTS = {
    "score": TensorSpec("float32", (-1,)),
    "exact": TensorSpec("float64", (-1,)),
    "small": TensorSpec("int8", (-1,)),
    "big": TensorSpec("int64", (-1,)),
    "hash": TensorSpec("uint64", (-1,)),
    "good": TensorSpec("bool", ()),
    "word": TensorSpec("string", (-1,)),
    "raw_bytes": TensorSpec("string", (-1, -1)),
    "dense/out:0": TensorSpec("float32", (-1, 3)),
    "boxes": TensorSpec("float32", (-1, -1, 4)),
    "deep": TensorSpec("int32", (-1, 1, 1, 1)),
}
PREDICTION = {
    "id": 7,
    "score": 0.1,
    "exact": "NaN",
    "small": -128,
    "big": -(2**63),
    "hash": 2**64 - 1,
    "good": True,
    "word": {"b64": "/w=="},
    "raw_bytes": ["text", {"b64": "/w=="}],
    "dense/out:0": ["Infinity", "-Infinity", 1],
    "boxes": [[1, 2], [], [3.5]],
    "deep": [[[1], []]],
}


def fields(**changes: Any) -> tuple[Field, ...]:
    arguments: dict[str, Any] = {"ranked": False, "pass_through": ["id"], "postprocessed": False, "types": ()}
    return prediction_fields(**{"outputs": OUTPUTS, **arguments, **changes})


def avro(made: tuple[Field, ...], **options: Any) -> OutputWriter:
    return writer_of(OutputSchema("avro", 258, make_avro_schema(made, "inference.Prediction"), **options))


def as_text(file: FileDescriptorProto) -> str:
    return base64.b64encode(file.SerializeToString()).decode()


def protobuf(made: tuple[Field, ...], **options: Any) -> OutputWriter:
    return writer_of(OutputSchema("protobuf", 258, as_text(make_proto_file(made, "inference.Prediction")), **options))


def read_avro(value: bytes, made: tuple[Field, ...]) -> Any:
    assert value[:5] == b"\0\0\0\1\2"
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), json.loads(make_avro_schema(made, "inference.Prediction")))


def read_protobuf(value: bytes, made: tuple[Field, ...]) -> Any:
    assert value[:6] == b"\0\0\0\1\2\0", "the indexes of the first message are one 0"
    return ProtobufReader(as_text(make_proto_file(made, "inference.Prediction")), {}).read(value, 5)


def nested(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def test_avro() -> None:
    datum = read_avro(avro(fields()).write(json.dumps(PREDICTION).encode()), fields())
    assert str(datum.pop("exact")) == "nan"
    assert datum.pop("score") == pytest.approx(0.1)
    assert datum == {
        "id": "7", "small": -128, "big": -(2**63), "hash": 2**64 - 1, "good": True, "word": '{"b64":"/w=="}',
        "raw_bytes": [b"text", b"\xff"], "dense_out_0": [float("inf"), float("-inf"), 1.0], "boxes": [[1, 2], [], [3.5]],
        "deep": [[[1], []]],
    }  # fmt: skip


def test_protobuf() -> None:
    datum = read_protobuf(protobuf(fields()).write(json.dumps(PREDICTION).encode()), fields())
    assert str(datum.pop("exact")) == "nan"
    assert datum.pop("score") == pytest.approx(0.1)
    assert datum == {
        "id": "7", "small": -128, "big": -(2**63), "hash": 2**64 - 1, "good": True, "word": '{"b64":"/w=="}',
        "raw_bytes": [b"text", b"\xff"], "dense_out_0": [float("inf"), float("-inf"), 1.0],
        "boxes": [{"values": [1, 2]}, {"values": []}, {"values": [3.5]}],
        "deep": [{"values": [{"values": [1]}, {"values": []}]}],
    }  # fmt: skip


@pytest.mark.parametrize(("write", "read"), [(avro, read_avro), (protobuf, read_protobuf)])
def test_nulls_classes_and_digits(write: Any, read: Any) -> None:
    made = fields(ranked=True, pass_through=["id", "price", "gone"], types=parse_types(["gone=long[]"]))
    text = b'{"id":{"a":[123456789012345678901234567890,0.12345678901234567890]},"price":1.10000000000000000,"gone":null,'
    text += b'"label":"cat","score":0.9,"top":[{"label":"cat","score":0.9},{"label":"dog","score":"-Infinity"}]}'
    found = {
        name: value for name, value in read(write(made, exact=True).write(text), made).items() if value not in (None, [])
    }
    assert found == {
        "id": '{"a":[123456789012345678901234567890,0.12345678901234567890]}', "price": "1.10000000000000000",
        "label": "cat", "score": 0.9, "top": [{"label": "cat", "score": 0.9}, {"label": "dog", "score": float("-inf")}],
    }  # fmt: skip


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False))),
    st.integers(0, 2**64 - 1),
    st.text(st.characters(codec="utf-8")),
)
def test_whatever_a_model_answers_comes_back(boxes: list[list[float]], number: int, word: str) -> None:
    names = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
    text = json.dumps(
        {"boxes": [[names.get(one, one) for one in row] for row in boxes], "hash": number, "word": word}
    ).encode()
    found = read_avro(avro(fields()).write(text), fields())
    assert (found["boxes"], found["hash"], found["word"], found["score"]) == (boxes, number, word, None)
    found = read_protobuf(protobuf(fields()).write(text), fields())
    assert ([row["values"] for row in found["boxes"]], found["hash"], found["word"]) == (boxes, number, word)


@pytest.mark.parametrize("write", [avro, protobuf])
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("small", 2**31, "beyond -2147483648 to 2147483647"),
        ("small", 1.5, "a number, not a whole number"),
        ("small", True, "a bool, not a whole number"),
        ("big", 2**63, "beyond"),
        ("score", 1e39, "a number beyond float32"),
        ("score", "hunter2", "a string, not a number"),
        ("good", 1, "an integer, not true or false"),
        ("raw_bytes", [7], "an integer, not bytes"),
        ("raw_bytes", [{"b64": "?"}], "a b64 object without valid base64"),
        ("boxes", [1], "not "),
        ("boxes", [[None]], "null, not a number"),
        ("word", "\ud800", "half a surrogate pair"),
        ("word", ["\ud800"], "half a surrogate pair"),
        ("word", {"a": nested(2**70, 300)}, "nested too deeply"),
    ],
)
def test_values_that_do_not_fit(write: Any, name: str, value: Any, says: str) -> None:
    with pytest.raises(OutputMismatchError, match=f"^field .*{says}") as caught:
        write(fields()).write(json.dumps({name: value}).encode())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("write", "read"), [(avro, read_avro), (protobuf, read_protobuf)])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("value", ["%d", "[%d,0.5]", '{"id":%d,"of":[[-%d]]}'])
def test_integers_beyond_64_bits_in_a_text(write: Any, read: Any, exact: bool, value: str) -> None:
    text = value.replace("%d", "123456789012345678901234")
    made = fields(outputs={}, pass_through=(), types=parse_types(["id=string"]))
    written = write(made, exact=exact).write(b'{"id":%b}' % text.encode())
    assert read(written, made) == {"id": text}


@pytest.mark.parametrize("write", [avro, protobuf])
def test_a_number_whose_exponent_no_decimal_has(write: Any) -> None:
    """Binary floats take it for 0, so the record was scored."""
    text = b'{"price":1234567890123456789012345E-99999999999999999999,"label":"cat"}'
    with pytest.raises(OutputMismatchError, match="a number beyond"):
        write(fields(ranked=True, pass_through=["price"]), exact=True).write(text)


@pytest.mark.parametrize("write", [avro, protobuf])
def test_fields_that_the_schema_has_not(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A model's new output is left out, and told once; what a function returns is a mistake."""
    writer = OutputWriter(write(fields())._schema)
    for _ in range(2):
        assert writer.write(b'{"new":1,"small":5}') == writer.write(b'{"small":5}')
    assert [record.message for record in caplog.records] == [
        "the schema of predictions has no field new: it is left out; start the job anew to write it"
    ]
    with pytest.raises(OutputMismatchError, match="a field that the schema has not"):
        write(fields(), closed=True).write(b'{"new":1}')


def test_types_that_are_not_known() -> None:
    with pytest.raises(ValueError, match=r"^output 'x' is float32\[\?\], whose .* --output_types=x=TYPE"):
        fields(outputs={"x": TensorSpec("float32", None)})
    assert fields(outputs={"x": TensorSpec("float32", None)}, types=parse_types(["x=float[]"]))[1] == Field("x", "float", 1)
    with pytest.raises(ValueError, match="does not say which outputs"):
        fields(outputs={})
    assert fields(outputs={}, types=parse_types(["a=int,id=long"])) == (Field("id", "long"), Field("a", "int"))
    with pytest.raises(ValueError, match=r"^--output_types=y: a prediction has no such field; it has id, x"):
        fields(outputs={"x": TensorSpec("bool", (-1,))}, types=parse_types(["y=int"]))
    with pytest.raises(ValueError, match=r"^--postprocess: say which"):
        fields(postprocessed=True)
    assert fields(postprocessed=True, types=parse_types(["a=int"])) == (Field("a", "int"),)
    with pytest.raises(ValueError, match="'a/b' and 'a_b' would both be the field a_b"):
        fields(outputs={"a/b": OUTPUTS["score"], "a_b": OUTPUTS["score"]})
    assert fields(ranked=True)[1:] == RANKED_FIELDS
    for wrong in ("a", "a=number", "a=int[", "=int", "a=int,a=int"):
        with pytest.raises(ValueError, match=r"give NAME=TYPE|given twice"):
            parse_types([wrong])


# ---------------------------------------------------------------------- Protobuf's files


def test_the_source_says_what_the_file_says(tmp_path: Path) -> None:
    """Compiled by protoc: the registry gets the source, and the writer the file.

    In a process of its own: called in this one, it has crashed once, in C++, and the whole run with it.
    """
    pytest.importorskip("grpc_tools")
    made = [*fields(outputs={**OUTPUTS, 'a"\\b': OUTPUTS["score"]}), RANKED_FIELDS[2]]
    file = make_proto_file(made, "com.example.Fraud")
    (tmp_path / "Fraud.proto").write_text(proto_text(file))
    out = tmp_path / "out"
    protoc = [sys.executable, "-m", "grpc_tools.protoc"]
    subprocess.run([*protoc, f"-I{tmp_path}", f"--descriptor_set_out={out}", "Fraud.proto"], check=True)
    [compiled] = FileDescriptorSet.FromString(out.read_bytes()).file
    named = {field.name for field in file.message_type[0].field if field.json_name}
    assert named == {"dense_out_0", "a__b"}
    messages = [compiled.message_type[0]]
    for message in messages:
        messages += message.nested_type
        for field in message.field:
            if field.name not in named:
                field.ClearField("json_name")  # protoc fills it in
            if field.type_name:
                field.type_name = field.type_name.rpartition(".")[2]
    assert compiled == file


def test_numbers_stay_over_versions() -> None:
    """Registries take a field of another name for compatible, so a shuffled number would be read as another output."""
    first = make_proto_file(parse_types(["b=int,d=float[][]"]), "P")
    second = make_proto_file(parse_types(["a=int,b=int,c=float"]), "P", first)
    numbers = {field.name: field.number for field in second.message_type[0].field}
    assert numbers == {"b": 1, "d": 2, "a": 3, "c": 4}
    third = make_proto_file(parse_types(["d=float[][],e=int"]), "P", second)
    assert {field.name: field.number for field in third.message_type[0].field} == {**numbers, "e": 5}
    writer = writer_of(OutputSchema("protobuf", 1, as_text(third)))
    assert ProtobufReader(as_text(first), {}).read(writer.write(b'{"d":[[1]],"e":5}'), 5) == {"d": [{"values": [1.0]}]}
    foreign = FileDescriptorProto.FromString(first.SerializeToString())
    foreign.message_type[0].field.add(name="at", number=9, type=11, label=1, type_name=".google.protobuf.Timestamp")
    with pytest.raises(SchemaError, match="its field at is of a type"):
        make_proto_file(parse_types(["b=int"]), "P", foreign)


# ---------------------------------------------------------------------- schemas of others


def test_an_avro_schema_of_others() -> None:
    """Unions, enums, fixed, maps, records in records, decimals and defaults."""
    schema = {
        "type": "record", "name": "n.Own", "fields": [
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
            {"name": "any", "type": ["null", "boolean", "long", "double", "string"], "default": None},
            {"name": "fixed", "type": {"type": "fixed", "name": "Two", "size": 2}},
            {"name": "map", "type": {"type": "map", "values": "float"}},
            {"name": "tree", "type": {"type": "record", "name": "Tree", "fields": [
                {"name": "n", "type": "int"}, {"name": "more", "type": {"type": "array", "items": "Tree"}}]}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "note", "type": "string", "default": "none"},
        ],
    }  # fmt: skip
    writer = OutputWriter(OutputSchema("avro", 1, json.dumps(schema)))
    good: dict[str, Any] = {
        "kind": "A", "any": 5, "fixed": {"b64": "AAE="}, "map": {"a": 1}, "tree": {"n": 1, "more": [{"n": 2, "more": []}]},
        "price": 1.25,
    }  # fmt: skip
    found: Any = fastavro.schemaless_reader(io.BytesIO(writer.write(json.dumps(good).encode())[5:]), schema)
    assert (found.pop("fixed"), str(found.pop("price")), found.pop("note")) == (b"\0\1", "1.25", "none")
    assert found == {name: value for name, value in good.items() if name not in ("fixed", "price")}
    for name, wrong, says in [
        ("kind", "C", "one of the enum's symbols"), ("fixed", "abc", "3 bytes, not 2"), ("map", [], "not an object"),
        ("tree", {"n": "1"}, "field tree: field n: a string"), ("price", 1.234, "does not fit the schema"),
    ]:  # fmt: skip
        with pytest.raises(OutputMismatchError, match=says):
            writer.write(json.dumps({**good, name: wrong}).encode())
    del good["map"]
    with pytest.raises(OutputMismatchError, match="field map has no default"):
        writer.write(json.dumps(good).encode())


@pytest.mark.parametrize("write", [avro, protobuf])
def test_whether_predictions_fit(write: Any) -> None:
    there = parse_types(["f=float,d=double,i=int,l=long,s=string,b=bytes,fs=float[]"])
    writer: OutputWriter = write(there)
    writer.check(there)
    for good in ("i=int,l=int,d=float,d=long", "s=double[]", "i=string"):
        made = parse_types([part for part in good.split(",") if not part.startswith("d=l")])
        writer.check(made, ["i"] if good == "i=string" else ())
    for wrong, says in [
        ("x=int", "has no field x"), ("f=double", r"can't take every f \(double\)"), ("i=long", "beyond"),
        ("i=string", "string"),
        ("fs=float", "not a list"), ("f=float[]", "a list"), ("l=ulong", "beyond"),
    ]:  # fmt: skip
        with pytest.raises(SchemaError, match=says):
            writer.check(parse_types([wrong]))
    if write is avro:
        needs = OutputWriter(OutputSchema("avro", 1, '{"type":"record","name":"R","fields":[{"name":"n","type":"int"}]}'))
        with pytest.raises(SchemaError, match="has a field n without a default"):
            needs.check(())


def test_a_message_by_its_name() -> None:
    file = make_proto_file(parse_types(["a=int"]), "p.First")
    file.message_type.add(name="Second").field.add(name="b", number=1, type=5, label=1)
    writer = writer_of(OutputSchema("protobuf", 1, as_text(file), record_name="p.Second"))
    assert writer.write(b'{"b":5}') == b"\0\0\0\0\1\x02\x02\x08\x05"
    with pytest.raises(SchemaError, match=r"has no message p.Third at its top; it has p.First, p.Second"):
        writer_of(OutputSchema("protobuf", 1, as_text(file), record_name="p.Third"))


@pytest.mark.parametrize("text", ["", "{}", '"string"', '{"type":"array","items":"int"}'])
def test_what_is_no_schema_of_a_record(text: str) -> None:
    with pytest.raises(SchemaError):
        OutputWriter(OutputSchema("avro", 1, text))
