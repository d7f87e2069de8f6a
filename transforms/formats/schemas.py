"""Avro schemas by id, as far as they are known; the I/O that makes them known is in ``lookup.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.codecs import FormatError
from transforms.formats.avro import AvroReader, read_with
from transforms.formats.avro_schema import ParsedSchema, SchemaError
from transforms.formats.frame import FRAME_BYTES, FrameError, schema_id
from transforms.formats.registry import RegisteredSchema
from transforms.types import KafkaRecord


class FramedAvro:
    """Reads framed Avro by the schemas that it was taught. May be pickled.

    A schema never changes once it has an id, so what is known stays. That an id is not known to the registry may change.

    Args:
        reader: What values are wanted as; as they were written if left out.
    """

    def __init__(self, reader: ParsedSchema | None = None):
        self._reader = reader
        self._known: dict[int, AvroReader] = {}
        self._unusable: dict[int, FormatError] = {}
        self._missing: dict[int, FormatError] = {}

    def wanted(self, records: Sequence[KafkaRecord]) -> list[int]:
        """The ids in the frames of ``records`` that are not known yet, each once; forgets what was missing before."""
        self._missing = {}
        found: dict[int, None] = {}
        for record in records:
            if record.value:
                try:
                    found[schema_id(record.value)] = None
                except FrameError:
                    continue  # told when it is read
        return [number for number in found if number not in self._known and number not in self._unusable]

    def learn(self, number: int, schema: RegisteredSchema) -> None:
        """Takes a schema in."""
        try:
            if schema.kind != "AVRO":
                raise SchemaError(f"schema {number} is {schema.kind}, not AVRO")
            self._known[number] = read_with(schema.texts, self._reader)
        except SchemaError as error:
            self._unusable[number] = error

    def miss(self, number: int, error: FormatError) -> None:
        """Notes why there is no schema of this id, until ``wanted`` is called again."""
        self._missing[number] = error

    def read(self, value: bytes) -> Any:
        """Reads one value.

        Raises:
            FormatError: It has no frame, its schema is not there or can't be used, or it is not of its schema.
        """
        number = schema_id(value)
        reader = self._known.get(number)
        if reader is None:
            raise self._missing.get(number) or self._unusable[number]
        return reader.read(value, FRAME_BYTES)
