"""Readers of framed values, with the schemas known so far. They do no I/O: ``lookup.py`` gets the schemas."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, Protocol

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.avro import AvroReader
from transforms.formats.avro_schema import ParsedSchema, SchemaError, parse_avro_schema
from transforms.formats.codecs import AVRO, PROTOBUF, FormatError
from transforms.formats.frame import FrameError, SchemaKey, framed_value, read_frame
from transforms.formats.limits import MAX_RECORD_BYTES
from transforms.formats.registry import RegisteredSchema
from transforms.internal_errors import REPORT, is_internal, kind_and_place, tell
from transforms.types import STAGE_DECODE, KafkaRecord


class UnforeseenError(FormatError):
    """Our code raised on a schema what it did not foresee."""

    dead_letter_class = DeadLetterClass.INTERNAL_ERROR


class SchemaReader(Protocol):
    """Reads values of one schema."""

    def read(self, value: bytes, start: int = 0) -> Any:
        """Reads what ``value`` holds from ``start`` on.

        Raises:
            FormatError: The value does not fit the schema.
        """


class FramedReader(abc.ABC):
    """Reads framed values by the schemas that were added to it.

    A schema never changes once it has an id, so known schemas are kept for ever. That the registry lacks an id may change.
    """

    kind: str
    """The format. In upper case it is the registry's name for this kind of schema."""

    def __init__(self) -> None:
        self._known: dict[SchemaKey, SchemaReader] = {}
        self._unusable: dict[SchemaKey, FormatError] = {}
        self._missing: dict[SchemaKey, FormatError] = {}

    @abc.abstractmethod
    def _open(self, schema: RegisteredSchema) -> SchemaReader:
        """Makes the reader of one schema; raises ``SchemaError``."""

    def wanted(self, records: Sequence[KafkaRecord]) -> list[SchemaKey]:
        """Returns the schemas of ``records`` that are not known yet, each once. Forgets all former ``miss`` calls."""
        self._missing = {}
        found: dict[SchemaKey, None] = {}
        for record in records:
            if value := framed_value(record, self.kind == PROTOBUF):
                try:
                    found[read_frame(value).schema] = None
                except FrameError:
                    continue  # ``read`` raises it again for this record
        return [key for key in found if key not in self._known and key not in self._unusable]

    def learn(self, key: SchemaKey, schema: RegisteredSchema) -> None:
        """Adds a schema."""
        try:
            if schema.kind != self.kind.upper():
                raise SchemaError(
                    f"schema {key} is {schema.kind}, not {self.kind.upper()}: --input_format={schema.kind.lower()} reads it"
                )
            self._known[key] = self._open(schema)
        except SchemaError as error:
            self._unusable[key] = error
        except Exception as error:
            if not is_internal(error):
                raise
            tell(STAGE_DECODE, error)
            self._unusable[key] = UnforeseenError(f"{REPORT}: the schema raised {kind_and_place(error)}")

    def miss(self, key: SchemaKey, error: FormatError) -> None:
        """Records why the schema of this id or GUID is missing, until ``wanted`` is called again."""
        self._missing[key] = error

    def read(self, value: bytes) -> Any:
        """Reads one value that begins with its frame (``framed_value``).

        Raises:
            FormatError: The value has no frame, its schema is missing or unusable, or the value does not fit its schema.
        """
        key, start = read_frame(value)
        reader = self._known.get(key)
        if reader is None:
            raise self._missing.get(key) or self._unusable[key]
        return reader.read(value, start)


class FramedAvro(FramedReader):
    """Reads framed Avro.

    Args:
        reader: The reader's schema; ``None`` for each value's own schema.
        max_bytes: The most memory in bytes that a value may take.
    """

    kind = AVRO

    def __init__(self, reader: ParsedSchema | None = None, max_bytes: int = MAX_RECORD_BYTES):
        super().__init__()
        self._reader, self._max_bytes = reader, max_bytes

    def _open(self, schema: RegisteredSchema) -> SchemaReader:
        references = list(dict.fromkeys(schema.references.values()))
        return AvroReader(parse_avro_schema(schema.text, references), self._reader, self._max_bytes)


class FramedProtobuf(FramedReader):
    """Reads framed Protobuf.

    Args:
        max_bytes: The most memory in bytes that a value may take.
    """

    kind = PROTOBUF

    def __init__(self, max_bytes: int = MAX_RECORD_BYTES):
        super().__init__()
        self._max_bytes = max_bytes

    def _open(self, schema: RegisteredSchema) -> SchemaReader:
        from transforms.formats.protobuf import ProtobufReader  # here: only a protobuf pipeline needs it

        return ProtobufReader(schema.text, schema.references, self._max_bytes)
