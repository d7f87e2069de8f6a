"""Avro values → Python values of JSON's types, and bytes.

Records and maps become dicts, arrays become lists, enums become strings. A union becomes its value, without the branch's
name. A decimal of scale 0 becomes an exact integer, any other decimal the nearest float64.
"""

from __future__ import annotations

import decimal
import functools
import io
import math
from collections.abc import Callable
from typing import Any

import fastavro
from fastavro import _read_py as read_in_python

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.avro_schema import ParsedSchema, parse_avro_schema
from transforms.formats.codecs import FormatError

CONTAINER = b"Obj\x01"
"""The first bytes of an Avro object container file."""

_WRONG = {
    EOFError: "it is cut short",
    UnicodeDecodeError: "a string is not UTF-8",
    RecursionError: "it is nested too deeply",
    fastavro.read.SchemaResolutionError: "its schema can't be resolved to that of --avro_schema",
}


class AvroError(FormatError):
    """A value is not Avro data of its schema."""

    dead_letter_class = DeadLetterClass.AVRO_ERROR


class AvroReader:
    """Reads values of one schema.

    Args:
        schema: The writer's schema.
        reader: The reader's schema, applied by Avro's rules of schema resolution. ``None`` for the writer's.
    """

    def __init__(self, schema: ParsedSchema, reader: ParsedSchema | None = None):
        self._writer_schema = schema.schema
        self._reader_schema = None if reader is None else reader.schema
        # fastavro's compiled reader has no limit of depth: a record of 5,000 levels crashes the process (SIGSEGV, 1.13).
        recursive = schema.recursive or (reader is not None and reader.recursive)
        self._read: Callable[..., Any] = read_in_python.schemaless_reader if recursive else fastavro.schemaless_reader
        self._has_decimals = schema.has_decimals or (reader is not None and reader.has_decimals)

    def read(self, value: bytes, start: int = 0) -> Any:
        """Reads the one datum that ``value`` holds from ``start`` on.

        Raises:
            AvroError: The bytes do not fit the schema, or more bytes follow the datum.
        """
        source = io.BytesIO(value)
        source.seek(start)
        try:
            datum = self._read(source, self._writer_schema, self._reader_schema)
            if self._has_decimals:
                datum = _numbers(datum)
        except AvroError:
            raise
        except Exception as error:  # fastavro raises many types; its messages may hold values of the record
            what = next((text for kind, text in _WRONG.items() if isinstance(error, kind)), "it does not fit its schema")
            raise AvroError(f"the value ({len(value)} bytes) is not Avro of its schema: {what}") from error
        if source.tell() != len(value):
            behind = f"{len(value) - source.tell()} bytes follow the datum"
            raise AvroError(f"the value ({len(value)} bytes) is not Avro of its schema: {behind}")
        return datum


class PlainAvro:
    """Reads values without a schema registry: a bare datum of ``schema_text``, or a container file of one record.

    Args:
        schema_text: The schema of bare data. ``None``: every value must be a container file, which holds its own schema.
    """

    def __init__(self, schema_text: str | None = None):
        self._schema = None if schema_text is None else parse_avro_schema(schema_text)

    def read(self, value: bytes) -> Any:
        """Reads one value.

        Raises:
            AvroError: The value is neither of the two.
            SchemaError: A container's schema can't be used.
        """
        if value.startswith(CONTAINER):
            try:
                return _read_container(value)
            except AvroError:
                if self._schema is None:
                    raise  # with a schema, the value may be a bare datum that begins like a container
        if self._schema is None:
            raise AvroError(
                "the value is not an Avro object container file; for bare Avro give --avro_schema, "
                "for Avro framed by a schema registry --schema_registry"
            )
        return AvroReader(self._schema).read(value)


@functools.lru_cache(maxsize=64)
def _container_reader(schema_text: str) -> AvroReader:
    return AvroReader(parse_avro_schema(schema_text))


def _read_container(value: bytes) -> Any:
    try:
        blocks: Any = fastavro.block_reader(io.BytesIO(value))
        schema_text = blocks.metadata["avro.schema"]
        found = [(block.num_records, block.bytes_.read()) for block in blocks]
    except Exception as error:  # as above
        raise AvroError(
            f"the value ({len(value)} bytes) is not a whole Avro object container file: {type(error).__name__}"
        ) from error
    records = sum(count for count, _ in found)
    if records != 1:
        raise AvroError(f"the Avro container holds {records} records; a Kafka record must hold one")
    [datum] = [datum for count, datum in found if count]
    return _container_reader(schema_text).read(datum)


def _numbers(value: Any) -> Any:
    """Replaces the decimals in a value by numbers."""
    kind = type(value)
    if kind is dict:
        return {key: _numbers(part) for key, part in value.items()}
    if kind is list:
        return [_numbers(part) for part in value]
    if kind is not decimal.Decimal:
        return value
    if value.as_tuple().exponent >= 0:
        return int(value)
    number = float(value)
    if math.isinf(number):
        raise AvroError("a decimal is beyond float64")
    return number
