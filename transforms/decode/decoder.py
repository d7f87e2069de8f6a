"""Kafka bytes → tensors by the model's signature, a chunk at a time.

The result for a record never depends on the other records of its chunk. If all rows have the same shape, each input is cast
as one column. If a column does not cast, its rows are cast one by one (``formats/casting.py``).
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson

from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.feature_paths import Features
from transforms.decode.one_by_one import decoded_one_by_one
from transforms.decode.pass_through import PassThrough
from transforms.errors import ContractError
from transforms.formats.as_json import with_bytes_as_b64
from transforms.formats.casting import MAX_RANK, Caster, FieldMismatch, describe, is_b64, observed_shape
from transforms.formats.codecs import (
    BYTES,
    DOCUMENTS,
    JSON,
    NPY,
    TF_EXAMPLE,
    UNKNOWN_INPUT,
    FormatError,
    can_be_sent_on,
    parse_json,
    resolve_input_format,
    row_shape,
)
from transforms.formats.options import FormatOptions
from transforms.formats.readers import FRAMED, open_reader
from transforms.types import DecodedChunk, Failure, KafkaRecord, Segment, Signature

if TYPE_CHECKING:
    from transforms.formats.schemas import FramedReader

_FIELDS_SHOWN = 8

_Row = tuple[int, list[tuple[Caster, Any]]]  # a row and the value of each input it has
_Group = tuple[list[int], dict[str, np.ndarray]]  # rows and their tensors


class Decoder:
    """Decodes chunks of records for one signature. Does no I/O and may be pickled.

    Attributes:
        input_format: ``json``, ``bytes``, ``tf_example``, ``avro``, ``protobuf`` or ``npy``. Never ``auto``, which is
            resolved.
        schemas: With a schema registry and Avro or Protobuf: the known schemas. ``SchemaLookup`` must add the schemas of a
            chunk before the chunk is decoded.
    """

    def __init__(
        self,
        signature: Signature,
        input_format: str = "auto",
        window_seconds: float | None = None,
        keep_documents: bool = False,
        formats: FormatOptions | None = None,
    ):
        """Checks that the format can fit the signature.

        Args:
            signature: What the model takes.
            input_format: ``auto``, ``json``, ``bytes``, ``tf_example``, ``avro``, ``protobuf`` or ``npy``.
            window_seconds: Records of different windows of this length (by Kafka timestamp, from the epoch on) never
                share a segment's key; records without a timestamp have a window of their own. ``None`` for one window.
            keep_documents: Keep the parsed JSON, which ``--output_mode=merge`` needs.
            formats: Schemas, the schema registry, ``--features`` and ``--pass_through``.

        Raises:
            ContractError: Format, signature and flags can't fit together; the message names the flag and the cure.
        """
        formats = formats or FormatOptions()
        needs_fields = bool(formats.features or formats.pass_through)
        self.input_format = resolve_input_format(signature, input_format, needs_fields)
        if needs_fields and self.input_format not in DOCUMENTS:
            flag = "--features" if formats.features else "--pass_through"
            raise ContractError(
                f"{flag}: records of {self.input_format} have no fields; leave it out, or use json, avro or protobuf"
            )
        if keep_documents and self.input_format != JSON:
            raise ContractError(
                f"--output_mode=merge: the records are read as {self.input_format}, and only JSON can hold a prediction; "
                "use --output_mode=prediction"
                + (", with --pass_through=FIELD,… for fields of the record" if self.input_format in DOCUMENTS else "")
                + (", or --input_format=json" if not signature.takes_examples else "")
            )
        if window_seconds is not None and not window_seconds >= 0.001:
            raise ContractError(f"--window_seconds={window_seconds}: must be 0.001 or more, the resolution of a timestamp")
        self._signature = signature
        self._window_ms = None if window_seconds is None else round(window_seconds * 1000)
        self._keep = keep_documents
        self._casters: list[Caster] = []
        self._features = Features(signature, formats.features) if formats.features else None
        self._pass_through = PassThrough(formats.pass_through) if formats.pass_through else None
        if self.input_format in DOCUMENTS and signature.known:
            labels = self._features.labels if self._features is not None else {}
            self._casters = [Caster(name, spec, labels.get(name)) for name, spec in signature.inputs.items()]
        self._has_defaults = any(caster.spec.has_default for caster in self._casters)
        self._single = self._casters[0] if len(self._casters) == 1 else None
        self._bytes_name = next(iter(signature.inputs)) if len(signature.inputs) == 1 else "inputs"
        self._reader = open_reader(self.input_format, signature, formats)
        self.schemas: FramedReader | None = None
        if self.input_format in FRAMED and formats.registry is not None:
            self.schemas = cast("FramedReader", self._reader)

    def decode(self, records: list[KafkaRecord]) -> DecodedChunk:
        """Decodes the records of a chunk. Every row is then either in one segment, or has a failure.

        Failure classes: ``Tombstone`` (null value), ``EmptyValue``, ``JsonError``, ``FieldError``, ``ExampleError``,
        ``AvroError``, ``ProtobufError``, ``NpyError``. With a schema registry also ``FrameError``, ``SchemaError``,
        ``UnknownSchema`` and ``RegistryUnavailable``. ``InternalError`` for a record that our code raises on.
        """
        return decoded_one_by_one(self._decode, records)

    def _decode(self, records: Sequence[KafkaRecord]) -> DecodedChunk:
        records = cast("list[KafkaRecord]", records)
        chunk = DecodedChunk(records, [], {}, [None] * len(records) if self._keep else None)
        if not records:
            return chunk
        if self.input_format in DOCUMENTS:
            self._decode_documents(chunk)
        elif self.input_format == NPY:
            self._decode_npy(chunk)
        else:
            self._decode_bytes(chunk)
        return chunk

    def _decode_documents(self, chunk: DecodedChunk) -> None:
        values = [record.value for record in chunk.records]
        rows: Sequence[int] = range(len(values))
        if self._reader is not None:
            rows, documents = self._read_each(chunk, values, self._reader.read)
        else:
            try:
                documents = list(map(orjson.loads, values))  # type: ignore[arg-type]  # raises for null, too
            except ValueError:
                rows, documents = self._read_each(chunk, values, parse_json)
        if chunk.documents is not None:
            for row, document in zip(rows, documents, strict=True):
                chunk.documents[row] = document
        if self._pass_through is not None:
            rows, documents = self._carry(chunk, self._pass_through, rows, documents)
        if self._features is not None:
            rows, documents = _map_each(chunk.failures, rows, documents, self._features.pick)
        if not rows:
            return
        if not self._signature.known:
            self._pass(chunk, rows, documents)
            return
        tensors = self._cast_columns(documents)
        if tensors is not None:
            self._add(chunk, rows, tensors)
        else:
            self._cast_each(chunk, rows, documents)

    def _read_each(
        self, chunk: DecodedChunk, values: Sequence[bytes | None], read: Callable[[bytes], Any]
    ) -> tuple[list[int], list[Any]]:
        rows, found = [], []
        for row, value in enumerate(values):
            if not value:
                chunk.failures[row] = _missing(value)
                continue
            try:
                found.append(read(value))
            except FormatError as error:
                chunk.failures[row] = error.dead_letter_class.failure(str(error))
            except FieldMismatch as error:
                chunk.failures[row] = _mismatch(error)
            else:
                rows.append(row)
        return rows, found

    def _carry(
        self, chunk: DecodedChunk, pass_through: PassThrough, rows: Sequence[int], documents: list[Any]
    ) -> tuple[list[int], list[Any]]:
        carried = chunk.carried = [b""] * len(chunk.records)
        kept, found = _map_each(chunk.failures, rows, documents, lambda document: (pass_through.members(document), document))
        for row, (members, _) in zip(kept, found, strict=True):
            carried[row] = members
        return kept, [document for _, document in found]

    def _cast_columns(self, documents: list[Any]) -> dict[str, np.ndarray] | None:
        """Casts all rows at once; ``None`` if they differ in fields or shapes, or if any value does not fit."""
        casters, columns, first = self._casters, [], documents[0]
        try:
            if self._has_defaults and type(first) is dict:
                casters = [c for c in casters if c.name in first or not c.spec.has_default]
                absent = [c.name for c in self._casters if c not in casters]
                if not casters or any(name in document for name in absent for document in documents):
                    return None
            for caster in casters:
                if caster.name == "b64":
                    return None  # {"b64": …} may be the bytes of a single input, not an object of named inputs
                columns.append([document[caster.name] for document in documents])
        except (KeyError, TypeError):
            if self._single is None or any(type(d) is dict and not is_b64(d) for d in documents):
                return None
            columns = [documents]
        tensors = {}
        for caster, column in zip(casters, columns, strict=True):
            array = caster.cast_all(column)
            if array is None:
                return None
            tensors[caster.name] = array
        return tensors

    def _cast_each(self, chunk: DecodedChunk, rows: Sequence[int], documents: list[Any]) -> None:
        """Casts rows that differ: groups them by their inputs and shapes, and records the failures."""
        alike: dict[Hashable, list[_Row]] = {}
        for row, document in zip(rows, documents, strict=True):
            try:
                fields = self._fields(document)
            except FieldMismatch as error:
                chunk.failures[row] = _mismatch(error)
                continue
            shapes = tuple([(caster.name, observed_shape(value, MAX_RANK)) for caster, value in fields])
            alike.setdefault(shapes, []).append((row, fields))
        for members in alike.values():
            groups = _cast_group(members, chunk.failures)
            if groups:
                self._add(chunk, *_joined(groups))

    def _fields(self, document: Any) -> list[tuple[Caster, Any]]:
        """Returns the inputs that a document has; raises ``FieldMismatch`` if a required one is missing."""
        if type(document) is not dict or is_b64(document):
            if self._single is None:
                inputs = ", ".join(f"{c.name}: {c.expected}" for c in self._casters)
                raise FieldMismatch(f"expected an object with the fields {inputs}; came {describe(document)}")
            return [(self._single, document)]
        fields = []
        for caster in self._casters:
            if caster.name in document:
                fields.append((caster, document[caster.name]))
            elif not caster.spec.has_default:
                raise FieldMismatch(f"{caster.name}: missing; expected {caster.expected}; {_names(document)}")
        if not fields:
            inputs = ", ".join(c.name for c in self._casters)
            raise FieldMismatch(f"has none of the inputs ({inputs}); {_names(document)}")
        return fields

    def _pass(self, chunk: DecodedChunk, rows: Sequence[int], documents: list[Any]) -> None:
        """Passes JSON on unchanged, for a server that publishes no signature."""
        if self.input_format != JSON:
            documents = [with_bytes_as_b64(document) for document in documents]
        if not can_be_sent_on(documents):
            good = list(map(can_be_sent_on, documents))
            for row in itertools.compress(rows, (not g for g in good)):
                message = "can't be sent on: nested too deeply, an integer beyond 64 bits, or half a surrogate pair"
                chunk.failures[row] = DeadLetterClass.FIELD_ERROR.failure(f"the JSON value {message}")
            rows = list(itertools.compress(rows, good))
            documents = list(itertools.compress(documents, good))
        if rows:
            self._add(chunk, rows, {UNKNOWN_INPUT: _objects(documents)})

    def _decode_npy(self, chunk: DecodedChunk) -> None:
        assert self._reader is not None
        rows, arrays = self._read_each(chunk, [record.value for record in chunk.records], self._reader.read)
        alike: dict[tuple[int, ...], tuple[list[int], list[np.ndarray]]] = {}
        for row, array in zip(rows, arrays, strict=True):
            members = alike.setdefault(array.shape, ([], []))
            members[0].append(row)
            members[1].append(array)
        for members in alike.values():
            self._add(chunk, members[0], {self._bytes_name: np.stack(members[1])})

    def _decode_bytes(self, chunk: DecodedChunk) -> None:
        check = _example_checker() if self.input_format == TF_EXAMPLE else None
        rows: list[int] = []
        values: list[Any] = []
        for row, record in enumerate(chunk.records):
            value = record.value
            if not value:
                chunk.failures[row] = _missing(value)
                continue
            if check is not None and not check(value):
                message = f"the value ({len(value)} bytes) is not a serialized tf.Example with features"
                chunk.failures[row] = DeadLetterClass.EXAMPLE_ERROR.failure(message)
                continue
            rows.append(row)
            values.append(value)
        if not rows:
            return
        if self._signature.known or self.input_format != BYTES:
            name, array = self._bytes_name, _objects(values)
            if not self._signature.takes_examples:
                spec = self._signature.inputs[name]
                array = array.reshape(len(values), *row_shape(spec))
        else:
            name, array = UNKNOWN_INPUT, _objects([{"b64": base64.b64encode(value).decode()} for value in values])
        self._add(chunk, rows, {name: array})

    def _add(self, chunk: DecodedChunk, rows: Sequence[int], tensors: Mapping[str, np.ndarray]) -> None:
        """Adds one segment for each window. ``rows`` must ascend."""
        if len(rows) == len(chunk.records):
            rows = range(len(rows))
        shapes = tuple([(name, self._dtype(name), array.shape[1:]) for name, array in tensors.items()])
        if self._window_ms is None:
            chunk.segments.append(Segment((None, shapes), rows, tensors))
            return
        windows: dict[int | None, list[int]] = {}
        for position, row in enumerate(rows):
            timestamp = chunk.records[row].timestamp_ms
            window = None if timestamp is None else timestamp // self._window_ms
            windows.setdefault(window, []).append(position)
        if len(windows) == 1:
            chunk.segments.append(Segment((*windows, shapes), rows, tensors))
            return
        for window, positions in windows.items():
            part = {name: array[positions] for name, array in tensors.items()}
            chunk.segments.append(Segment((window, shapes), [rows[p] for p in positions], part))

    def _dtype(self, name: str) -> str:
        spec = self._signature.inputs.get(name)
        return "json" if spec is None else spec.dtype


def _map_each(
    failures: dict[int, Failure], rows: Sequence[int], documents: list[Any], change: Callable[[Any], Any]
) -> tuple[list[int], list[Any]]:
    """Applies ``change`` to each document; a ``FieldMismatch`` becomes the failure of that row."""
    kept, changed = [], []
    for row, document in zip(rows, documents, strict=True):
        try:
            changed.append(change(document))
        except FieldMismatch as error:
            failures[row] = _mismatch(error)
        else:
            kept.append(row)
    return kept, changed


def _cast_group(members: list[_Row], failures: dict[int, Failure]) -> list[_Group]:
    """Casts rows of one shape. If that fails, halves them until each row that does not fit is alone."""
    rows = [row for row, _ in members]
    casters = [caster for caster, _ in members[0][1]]
    tensors: dict[str, np.ndarray] = {}
    for i, caster in enumerate(casters):
        array = caster.cast_all([fields[i][1] for _, fields in members])
        if array is None:
            break
        tensors[caster.name] = array
    else:
        return [(rows, tensors)]
    if len(members) > 1:
        half = len(members) // 2
        return _cast_group(members[:half], failures) + _cast_group(members[half:], failures)
    try:
        return [(rows, {caster.name: caster.cast_one(value) for caster, value in members[0][1]})]
    except FieldMismatch as error:
        failures[rows[0]] = _mismatch(error)
        return []


def _joined(groups: list[_Group]) -> _Group:
    """Concatenates groups that have the same inputs and shapes."""
    if len(groups) == 1:
        return groups[0]
    rows = [row for group_rows, _ in groups for row in group_rows]
    tensors = {name: np.concatenate([group[name] for _, group in groups]) for name in groups[0][1]}
    return rows, tensors


def _mismatch(error: FieldMismatch) -> Failure:
    return DeadLetterClass.FIELD_ERROR.failure(str(error))


def _missing(value: bytes | None) -> Failure:
    if value is None:
        return DeadLetterClass.TOMBSTONE.failure("the value is null (a tombstone), so there is nothing to predict from")
    return DeadLetterClass.EMPTY_VALUE.failure("the value is empty (0 bytes)")


def _names(document: dict[str, Any]) -> str:
    names = [name if len(name) <= 40 else name[:40] + "…" for name in list(document)[:_FIELDS_SHOWN]]
    more = len(document) - len(names)
    return f"fields of the record: {', '.join(names) or 'none'}" + (f" and {more} more" if more else "")


def _objects(values: list[Any]) -> np.ndarray:
    return np.fromiter(values, dtype=object, count=len(values))  # np.array would turn lists into dimensions


def _example_checker() -> Any:
    from google.protobuf.message import DecodeError  # here: only a tf_example pipeline needs protobuf

    from transforms.clients.wire.tensorflow.messages import Example

    def is_example(value: bytes) -> bool:
        # Protobuf parses many short byte strings as a message of unknown fields, so we also require the field "features".
        try:
            return bool(Example.FromString(value).HasField("features"))
        except DecodeError:
            return False

    return is_example
