"""The schema that predictions are written by, and its writer: the registry's frame, then Avro or Protobuf."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from transforms.formats.avro_schema import SchemaError
from transforms.formats.codecs import AVRO, JSON, PROTOBUF
from transforms.formats.output_fields import RECORD, Field, identifier
from transforms.formats.output_values import OutputMismatchError, SymbolMismatchError, parse_prediction

OUTPUT_FORMATS = (JSON, AVRO, PROTOBUF)

_LOG = logging.getLogger(__name__)
_SAMPLES: dict[str, Any] = {
    "boolean": True,
    "int": (1 << 31) - 1,
    "long": (1 << 63) - 1,
    "ulong": (1 << 64) - 1,
    "float": 1.5,
    "double": 1e300,
    "string": "text",
    "bytes": {"b64": "/w=="},
}
"""A value of each type that only a field that takes all of its values takes."""


@dataclasses.dataclass(frozen=True, slots=True)
class OutputSchema:
    """A registered schema of predictions.

    Attributes:
        format: ``avro`` or ``protobuf``.
        number: Its id.
        text: The schema; of Protobuf the base64 ``FileDescriptorProto``.
        references: Reference name to schema; each comes after those that it refers to itself.
        record_name: Of Protobuf: the message; ``None``: the first.
        exact: Whether long numbers keep their digits, because they are fields of the input.
        closed: Whether a field that the schema has not is a mistake. If not, it is left out, and told once: so a model's new
            output does not end what the job wrote before.
    """

    format: str
    number: int
    text: str
    references: tuple[tuple[str, str], ...] = ()
    record_name: str | None = None
    exact: bool = False
    closed: bool = False


class _Body(Protocol):
    @property
    def names(self) -> frozenset[str]: ...

    @property
    def needed(self) -> frozenset[str]: ...

    def check(self, name: str, value: Any) -> None: ...

    def write(self, prediction: dict[str, Any]) -> bytes: ...


class OutputWriter:
    """Writes predictions by a schema. It can't be pickled: see ``writer_of``.

    Raises:
        SchemaError: The schema can't be written by.
    """

    def __init__(self, schema: OutputSchema):
        self._schema, self._body = schema, _body(schema)
        self._head = b"\0" + schema.number.to_bytes(4, "big")
        self._known: set[str] = set()

    def write(self, text: bytes) -> bytes:
        """Returns a prediction, which is a JSON object, behind the registry's frame.

        Raises:
            OutputMismatchError: It does not fit the schema.
        """
        prediction = parse_prediction(text, self._schema.exact)
        if not prediction.keys() <= self._known:
            self._learn(prediction)
        return self._head + self._body.write(prediction)

    def check(self, fields: Sequence[Field], unsure: Collection[str] = ()) -> None:
        """Checks that every prediction with these fields fits.

        Args:
            fields: The fields.
            unsure: The names of those whose type is not known: the schema has to have them.

        Raises:
            SchemaError: One does not; the message says which, and why.
        """
        for field in fields:
            if field.identifier not in self._body.names:
                raise SchemaError(f"has no field {field.identifier}")
            if field.name in unsure:
                continue
            try:
                self._body.check(field.name, _sample(field))
            except SymbolMismatchError:
                continue
            except OutputMismatchError as error:
                raise SchemaError(f"can't take every {_shown(field)} of a prediction: {error}") from error
        if missing := self._body.needed.difference(field.identifier for field in fields):
            raise SchemaError(f"has a field {min(missing)} without a default, which a prediction has not")

    def _learn(self, prediction: dict[str, Any]) -> None:
        for name in prediction.keys() - self._known:
            if identifier(name) not in self._body.names:
                if self._schema.closed:
                    raise OutputMismatchError("it has a field that the schema has not")
                _LOG.warning(
                    "the schema of predictions has no field %s: it is left out; start the job anew to write it", name
                )
            self._known.add(name)


@functools.lru_cache(maxsize=16)
def writer_of(schema: OutputSchema) -> OutputWriter:
    """Returns the writer of a schema, one for each in a process.

    Raises:
        SchemaError: The schema can't be written by.
    """
    return OutputWriter(schema)


def _body(schema: OutputSchema) -> _Body:
    if schema.format == AVRO:
        from transforms.formats.avro_output import AvroWriter  # here: only an Avro pipeline needs fastavro

        return AvroWriter(schema.text, list(dict.fromkeys(text for _, text in schema.references)))
    from transforms.formats.protobuf_output import ProtobufWriter

    return ProtobufWriter(schema.text, dict(schema.references), schema.record_name)


def _sample(field: Field) -> Any:
    value = {member.name: _sample(member) for member in field.fields} if field.type == RECORD else _SAMPLES[field.type]
    for _ in range(field.lists):
        value = [value]
    return value


def _shown(field: Field) -> str:
    return f"{field.name} ({field.type}{'[]' * field.lists})"
