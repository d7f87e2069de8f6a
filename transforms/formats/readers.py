"""Chooses the reader of a format by its options."""

from __future__ import annotations

from typing import Any, Protocol

from transforms.errors import ContractError
from transforms.formats.codecs import AVRO, JSON, NPY, PROTOBUF
from transforms.formats.frame import FramedJson
from transforms.formats.options import FormatOptions
from transforms.types import Signature

FRAMED = (AVRO, PROTOBUF)
"""The formats that need schemas from the registry, if one is configured."""


class ValueReader(Protocol):
    """Reads one record's value."""

    def read(self, value: bytes) -> Any:
        """Returns a document, or an array.

        Raises:
            FormatError: The value is not of the format.
            FieldMismatch: The value is of the format, but does not fit the model's input.
        """


def open_reader(input_format: str, signature: Signature, options: FormatOptions) -> ValueReader | None:
    """Makes the reader; ``None`` for the formats that the decoder reads itself, a chunk at a time.

    Raises:
        ContractError: ``--avro_schema`` is not a usable schema, or Protobuf lacks a registry.
    """
    if input_format == JSON and options.registry is not None:
        return FramedJson(options.frame_optional)
    if input_format == NPY:
        from transforms.formats.npy import NpyReader

        [(name, spec)] = signature.inputs.items()
        return NpyReader(name, spec, options.max_record_bytes)
    if input_format not in FRAMED:
        return None
    # Imported here: only an Avro pipeline needs fastavro.
    from transforms.formats.avro import PlainAvro
    from transforms.formats.avro_schema import SchemaError, parse_avro_schema
    from transforms.formats.schemas import FramedAvro, FramedProtobuf

    if input_format == PROTOBUF:
        if options.registry is None:
            raise ContractError("--input_format=protobuf: needs --schema_registry, which has the schemas of the records")
        return FramedProtobuf(options.max_record_bytes)
    try:
        if options.registry is None:
            return PlainAvro(options.avro_schema, options.max_record_bytes)
        schema = None if options.avro_schema is None else parse_avro_schema(options.avro_schema)
        return FramedAvro(schema, options.max_record_bytes)
    except SchemaError as error:
        raise ContractError(f"--avro_schema: {error}") from error
