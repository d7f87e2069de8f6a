"""Avro values → Python values of JSON's types, and bytes.

Records and maps become dicts, arrays become lists, enums become strings. A union becomes its value, without the branch's
name. A decimal of scale 0 becomes an exact integer, any other decimal the nearest float64. What a value may cost is bounded
before fastavro reads it: see ``avro_cost.py``.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import fastavro

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.avro_container import CONTAINER, read_container
from transforms.formats.avro_schema import ParsedSchema, parse_avro_schema
from transforms.formats.codecs import FormatError
from transforms.formats.decimals import DecimalError
from transforms.formats.limits import MAX_RECORD_BYTES
from transforms.formats.varint import MalformedError
from transforms.internal_errors import NO_RECORDS_FAULT
from transforms.printable import counted

_WRONG = {
    EOFError: "it is cut short",
    UnicodeDecodeError: "a string is not UTF-8",
    RecursionError: "it is nested too deeply",
    fastavro.read.SchemaResolutionError: "its schema can't be resolved to that of --avro_schema",
}
_CACHED_SCHEMA_BYTES = 1 << 16
"""Longer schemas of containers are parsed anew each time: a stranger may send as many as there are records."""


class AvroError(FormatError):
    """A value is not Avro data of its schema."""

    dead_letter_class = DeadLetterClass.AVRO_ERROR


class AvroReader:
    """Reads values of one schema.

    Args:
        schema: The writer's schema.
        reader: The reader's schema, applied by Avro's rules of schema resolution. ``None`` for the writer's.
        max_bytes: The most memory in bytes that a value may take.
    """

    def __init__(self, schema: ParsedSchema, reader: ParsedSchema | None = None, max_bytes: int = MAX_RECORD_BYTES):
        checks_choices = reader is None and schema.checked is not None
        self._writer_schema: Any = schema.checked if checks_choices else schema.schema
        self._reader_schema = None if reader is None else reader.schema
        self._cost, self._max_bytes = schema.cost, max_bytes
        # The walk that counts also finds indexes of unions and enums below 0, which fastavro alone would take.
        self._proven_bytes = schema.cost.proven_bytes(max_bytes) if checks_choices or not schema.cost.has_choices else -1

    def read(self, value: bytes, start: int = 0) -> Any:
        """Reads the one datum that ``value`` holds from ``start`` on.

        Raises:
            AvroError: The bytes do not fit the schema, more bytes follow the datum, or it would take too much memory.
        """
        source = io.BytesIO(value)
        source.seek(start)
        try:
            if len(value) - start > self._proven_bytes:
                self._cost.count(value, start, self._max_bytes)
            datum = fastavro.schemaless_reader(source, self._writer_schema, self._reader_schema)
        except NO_RECORDS_FAULT:
            raise
        except (MalformedError, DecimalError) as error:
            raise AvroError(f"the value ({counted(len(value), 'byte')}) is not Avro of its schema: {error}") from error
        except Exception as error:  # fastavro raises many types; its messages may hold values of the record
            what = next((text for kind, text in _WRONG.items() if isinstance(error, kind)), "it does not fit its schema")
            raise AvroError(f"the value ({counted(len(value), 'byte')}) is not Avro of its schema: {what}") from error
        if source.tell() != len(value):
            behind = counted(len(value) - source.tell(), "byte follows the datum", "bytes follow the datum")
            raise AvroError(f"the value ({counted(len(value), 'byte')}) is not Avro of its schema: {behind}")
        return datum


class PlainAvro:
    """Reads values without a schema registry: a bare datum of ``schema_text``, or a container file of one record.

    Args:
        schema_text: The schema of bare data. ``None``: every value must be a container file, which holds its own schema.
        max_bytes: The most memory in bytes that a value may take.
    """

    def __init__(self, schema_text: str | None = None, max_bytes: int = MAX_RECORD_BYTES):
        self._bare = None if schema_text is None else AvroReader(parse_avro_schema(schema_text), max_bytes=max_bytes)
        self._max_bytes = max_bytes

    def read(self, value: bytes) -> Any:
        """Reads one value.

        Raises:
            AvroError: The value is neither of the two.
            SchemaError: A container's schema can't be used.
        """
        if value.startswith(CONTAINER):
            try:
                return _read_container(value, self._max_bytes)
            except AvroError:
                if self._bare is None:
                    raise  # with a schema, the value may be a bare datum that begins like a container
        if self._bare is None:
            raise AvroError(
                "the value is not an Avro object container file; for bare Avro give --avro_schema, "
                "for Avro framed by a schema registry --schema_registry"
            )
        return self._bare.read(value)


@functools.lru_cache(maxsize=64)
def _container_reader(schema_text: str, max_bytes: int) -> AvroReader:
    return AvroReader(parse_avro_schema(schema_text), max_bytes=max_bytes)


def _read_container(value: bytes, max_bytes: int) -> Any:
    try:
        schema_text, datum = read_container(value, max_bytes)
    except MalformedError as error:
        raise AvroError(
            f"the value ({counted(len(value), 'byte')}) is not an Avro container of one record: {error}"
        ) from error
    make = _container_reader if len(schema_text) <= _CACHED_SCHEMA_BYTES else _container_reader.__wrapped__
    return make(schema_text, max_bytes).read(datum)
