"""The formats of a record's value, and the whole decoder over them."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.fuzz import avro_grammar, json_grammar, protobuf_grammar
from tests.fuzz.oracle import allowed, must, weight
from tests.fuzz.source import Source
from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.decoder import Decoder
from transforms.errors import ContractError
from transforms.formats.avro import AvroReader, PlainAvro
from transforms.formats.avro_schema import parse_avro_schema
from transforms.formats.casting import FieldMismatch
from transforms.formats.codecs import FormatError, parse_json
from transforms.formats.npy import MAGIC, NpyReader
from transforms.formats.options import FormatOptions
from transforms.formats.protobuf import ProtobufReader
from transforms.formats.registry import RegisteredSchema
from transforms.formats.schemas import FramedAvro, FramedProtobuf
from transforms.types import METHOD_CLASSIFY, METHOD_PREDICT, KafkaRecord, Signature, TensorSpec

MAX_BYTES = 1 << 20
_SLACK = 4  # what is counted is near to what is taken, not equal: strings of wide characters, a list's spare room

_DTYPES = ("float32", "int64", "string", "bool", "uint8", "float16", "bfloat16", "float64")
_SHAPES: tuple[tuple[int, ...] | None, ...] = ((-1,), (-1, 2), (-1, -1), None, (), (-1, 2, 2), (4, 2), (-1, 0))
_DESCRIPTIONS = (
    *(
        "<f4",
        "|b1",
        "<i8",
        ">f8",
        "|S0",
        "<U0",
        "|S3",
        "<U2",
        "<c8",
        "|O",
        "<M8[ns]",
        "|V4",
        "<f2",
        "<U9999999999",
        "f",
        "x",
    ),
)


def bounded(found: Any) -> None:
    """What was read takes no more memory than it may."""
    taken = weight(found)
    must(taken <= _SLACK * MAX_BYTES, f"takes {taken:,} bytes of memory, where {MAX_BYTES:,} are allowed")


def json_record(data: bytes) -> None:
    """JSON: the parser itself."""
    source = Source(data)
    text = source.rest() if source.chance(4) else source.mutated(json_grammar.text_of(source, ("x", "y", "b64")))
    with allowed(FormatError):
        parse_json(text)


def avro_container(data: bytes) -> None:
    """Avro container files, which bring schemas of their own."""
    source = Source(data)
    with allowed(FormatError):
        bounded(PlainAvro(max_bytes=MAX_BYTES).read(avro_grammar.container_of(source)))


def avro_datum(data: bytes) -> None:
    """Bare Avro of any schema; with and without a reader's. Whatever is read, the walk over the bytes takes, too."""
    source = Source(data)
    schema = avro_grammar.schema_of(source)
    value = source.mutated(avro_grammar.datum_of(schema, source, {}))
    with allowed(FormatError):
        parsed = parse_avro_schema(json.dumps(schema))
        reader = parsed if source.chance(4) else None
        found = AvroReader(parsed, reader, MAX_BYTES).read(value)
        bounded(found)


def protobuf(data: bytes) -> None:
    """Protobuf of any file."""
    source = Source(data)
    file = protobuf_grammar.file_of(source)
    text = base64.b64encode(source.mutated(file.SerializeToString())).decode()
    value = source.pick((b"\0", b"\x02\x02", b"\x04\x02\x00", b"")) + source.mutated(protobuf_grammar.message_of(source))
    with allowed(FormatError):
        bounded(ProtobufReader(text, {}, MAX_BYTES).read(value))


def registry_answers(data: bytes) -> None:
    """What a schema registry may answer: of any kind, with any references; then a framed value of it."""
    source = Source(data)
    kind = source.pick(("AVRO", "PROTOBUF", "JSON", ""))
    texts = [_schema_text(source, kind) for _ in range(1 + source.below(3))]
    schema = RegisteredSchema(kind, texts[0], {f"r{i}.proto": text for i, text in enumerate(texts[1:])})
    framed = FramedProtobuf(MAX_BYTES) if kind == "PROTOBUF" else FramedAvro(None, MAX_BYTES)
    framed.wanted([])
    framed.learn(1, schema)
    known = framed._unusable.get(1)
    must(known is None or known.dead_letter_class is not DeadLetterClass.INTERNAL_ERROR, f"the schema raised: {known}")
    with allowed(FormatError):
        bounded(framed.read(b"\0\0\0\0\x01" + source.rest()))


def _schema_text(source: Source, kind: str) -> str:
    if kind == "PROTOBUF":
        return base64.b64encode(source.mutated(protobuf_grammar.file_of(source).SerializeToString())).decode()
    text = json_grammar.text_of(source, ("type", "name", "fields")) if source.chance(3) else b""
    return (source.mutated(text or json.dumps(avro_grammar.schema_of(source)).encode())).decode("utf-8", "replace")


def npy(data: bytes) -> None:
    """``.npy`` files: headers of any shape and dtype, the numbers they announce or others."""
    source = Source(data)
    sizes = [source.edge() if source.chance(4) else source.small() for _ in range(source.below(6))]
    shape = "".join(f"{size}, " for size in sizes) if not source.chance(10) else source.text()
    entries = [
        f"'descr': '{source.pick(_DESCRIPTIONS)}'",
        f"'fortran_order': {source.pick((False, True, 1))}",
        f"'shape': ({shape})",
    ]
    head = source.mutated(f"{{{', '.join(entries)}, }}".encode().ljust(source.pick((0, 118, 54))) + b"\n")
    version = source.pick((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    length = len(head).to_bytes(2 if version[0] == 1 else 4, "little")
    value = source.mutated(MAGIC + version + length + head + source.rest())
    spec = TensorSpec(_DTYPES[len(data) % len(_DTYPES)], _SHAPES[len(value) % 4])
    with allowed(FormatError, FieldMismatch):
        bounded(NpyReader("x", spec, MAX_BYTES).read(value))


def decoder(data: bytes) -> None:
    """The decoder over all formats without a registry: every row has tensors or a failure, and none is a bug of ours."""
    source = Source(data)
    input_format = source.pick(("json", "bytes", "tf_example", "avro", "npy", "json"))
    signature = _signature(source, input_format)
    paths = (("x", source.pick(("$.x", "$.a[0].b", "$['y']"))),) if source.chance(3) else ()
    options = FormatOptions(pass_through=paths, max_record_bytes=MAX_BYTES)
    values = [_value(source, input_format) for _ in range(1 + source.below(3))]
    records = [KafkaRecord("t", 0, offset, 0, None, value, []) for offset, value in enumerate(values)]
    with allowed(ContractError):
        chunk = Decoder(signature, input_format, formats=options).decode(records)
        rows = sorted([row for segment in chunk.segments for row in segment.rows] + list(chunk.failures))
        must(rows == list(range(len(records))), "a row is in no segment and has no failure, or is in two")
        for failure in chunk.failures.values():
            must(failure.error_class != DeadLetterClass.INTERNAL_ERROR.error_class, failure.message)
        for segment in chunk.segments:
            must(all(len(array) == len(segment.rows) for array in segment.tensors.values()), "a tensor has other rows")


def _signature(source: Source, input_format: str) -> Signature:
    if input_format == "tf_example":
        return Signature("s", METHOD_CLASSIFY, {"inputs": TensorSpec("string", (-1,))}, {})
    if input_format == "bytes":
        return Signature("s", METHOD_PREDICT, {"x": TensorSpec("string", (-1,))}, {})
    if source.chance(5):
        return Signature("", METHOD_PREDICT, {}, {}, known=False)
    names = ("x",) if input_format == "npy" or source.chance(2) else ("x", "y", "b64")
    inputs = {
        name: TensorSpec(source.pick(_DTYPES), source.pick(_SHAPES), input_format != "npy" and source.chance(3))
        for name in names
    }
    return Signature("s", METHOD_PREDICT, inputs, {})


def _value(source: Source, input_format: str) -> bytes | None:
    if source.chance(8):
        return source.pick((None, b""))
    if input_format == "avro":
        return avro_grammar.container_of(source)
    if input_format == "tf_example":
        return source.mutated(protobuf_grammar.message_of(source))
    return json_grammar.text_of(source, ("x", "y", "b64", "a")) if input_format == "json" else source.take(64)
