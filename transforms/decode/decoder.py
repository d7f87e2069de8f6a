"""Kafka bytes → tensors by the model's signature, a chunk at a time.

The result for a record never depends on the other records of its chunk. If all rows have the same shape, each input is cast
as one column. If a column does not cast, its rows are cast one by one (``document_caster.py``).
"""

from __future__ import annotations

import base64
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson

from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.document_caster import DocumentCaster, field_error
from transforms.decode.feature_paths import Features
from transforms.decode.judging import Judge, Judged
from transforms.decode.one_by_one import decoded_one_by_one
from transforms.decode.optional_inputs import NULL_IS_ABSENT, optional_inputs, without_nulls
from transforms.decode.pass_through import PassThrough
from transforms.decode.preprocess import Preprocess, whole_value
from transforms.decode.prompting import Prompting
from transforms.errors import ContractError
from transforms.exact_json import loads_all_exactly
from transforms.formats.as_json import with_bytes_as_b64
from transforms.formats.casting import Caster, FieldMismatch
from transforms.formats.codecs import (
    BYTES,
    DOCUMENTS,
    JSON,
    NPY,
    PROTOBUF,
    TF_EXAMPLE,
    UNKNOWN_INPUT,
    FormatError,
    can_be_sent_on,
    parse_json,
    resolve_input_format,
    resolve_preprocessed,
    row_shape,
)
from transforms.formats.frame import framed_value, unframed_value
from transforms.formats.options import FormatOptions
from transforms.formats.readers import FRAMED, ValueReader, open_reader
from transforms.printable import counted
from transforms.types import DecodedChunk, Failure, KafkaRecord, Segment, Signature

if TYPE_CHECKING:
    from transforms.formats.schemas import FramedReader


class Decoder:
    """Decodes chunks of records for one signature. Does no I/O and may be pickled.

    Attributes:
        input_format: ``json``, ``bytes``, ``tf_example``, ``avro``, ``protobuf`` or ``npy``. Never ``auto``, which is
            resolved.
        has_fields: Whether inputs are taken from fields: of JSON, Avro, Protobuf, or of what ``preprocess`` returns.
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
        open_reader: Callable[[str, Signature, FormatOptions], ValueReader | None] = open_reader,
    ):
        """Checks that the format can fit the signature.

        Args:
            signature: What the model takes.
            input_format: ``auto``, ``json``, ``bytes``, ``tf_example``, ``avro``, ``protobuf`` or ``npy``.
            window_seconds: Records of different windows of this length (by Kafka timestamp, from the epoch on) never
                share a segment's key; records without a timestamp have a window of their own. ``None`` for one window.
            keep_documents: Keep the parsed JSON, which ``--output_mode=merge`` needs.
            formats: Schemas, the schema registry, ``--features``, ``--prompt`` and ``--pass_through``.
            open_reader: Makes what reads one record's value.

        Raises:
            ContractError: Format, signature and flags can't fit together; the message names the flag and the cure.
        """
        formats = formats or FormatOptions()
        needs_fields = bool(formats.features or formats.pass_through or formats.prompt)
        self._preprocess = None if formats.preprocess is None else Preprocess(formats.preprocess, signature)
        resolve = resolve_input_format if self._preprocess is None else resolve_preprocessed
        self.input_format = resolve(signature, input_format, needs_fields)
        given = {"--features": formats.features, "--prompt": formats.prompt} if self._preprocess is None else {}
        given["--pass_through"] = formats.pass_through  # the others are of what the function returns
        if (flag := next(filter(given.get, given), None)) and self.input_format not in DOCUMENTS:
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
        # Integers beyond 64 bits are of use where values are not cast to 64 bits at most: the test for them is spared there.
        changed = bool(formats.features or formats.prompt or formats.preprocess)
        self._exact = changed or not signature.known
        self._window_ms = None if window_seconds is None else round(window_seconds * 1000)
        self._keep = keep_documents
        null_is_absent = self.input_format in NULL_IS_ABSENT
        self._features = Features(signature, formats.features, null_is_absent) if formats.features else None
        self._absent_if_null = optional_inputs(signature) if null_is_absent and not changed else frozenset()
        self._prompting = None if formats.prompt is None else Prompting(signature, formats.prompt, formats.features)
        self._pass_through = PassThrough(formats.pass_through) if formats.pass_through else None
        self.has_fields = self.input_format in DOCUMENTS or self._preprocess is not None
        if self.has_fields and signature.known:
            labels = self._features.labels if self._features is not None else {}
            self._caster = DocumentCaster([Caster(name, spec, labels.get(name)) for name, spec in signature.inputs.items()])
        self._bytes_name = next(iter(signature.inputs)) if len(signature.inputs) == 1 else "inputs"
        self._reader = open_reader(self.input_format, signature, formats)
        self._framed = formats.registry is not None and self.input_format in DOCUMENTS
        self.schemas: FramedReader | None = None
        if self.input_format in FRAMED and formats.registry is not None:
            self.schemas = cast("FramedReader", self._reader)

    def decode(self, records: list[KafkaRecord]) -> DecodedChunk:
        """Decodes the records of a chunk. Every row is then either in one segment, or has a failure.

        Failure classes: ``Tombstone`` (null value), ``EmptyValue``, ``JsonError``, ``FieldError``, ``ExampleError``,
        ``AvroError``, ``ProtobufError``, ``NpyError``, ``PreprocessError``. With a schema registry also ``FrameError``,
        ``SchemaError``, ``UnknownSchema`` and ``RegistryUnavailable``. ``InternalError`` for a record that our code raises
        on.
        """
        return decoded_one_by_one(self._decode, records)

    def knowing_schemas_of(self, other: Decoder) -> Decoder:
        """Takes over the schemas that another decoder of the same format has been taught; returns this one."""
        if other.schemas is not None and other.input_format == self.input_format:
            self._reader, self.schemas = other._reader, other.schemas
        return self

    def judge(self, records: list[KafkaRecord]) -> Judged | None:
        """Judges each input of each record alone, for a report; ``decode`` stops at a record's first fault.

        Returns:
            The records that can be read; ``None`` where records have no fields, or the model's inputs are not known.
        """
        if not self.has_fields or not self._signature.known:
            return None
        chunk = DecodedChunk(records, [], {})
        rows, documents = self._documents(chunk)
        if self._preprocess is not None:
            rows, documents = self._preprocess.apply(rows, documents, chunk.failures)
        if self._prompting is not None:
            rows, documents = _map_each(chunk.failures, rows, documents, self._prompting.inputs)
        return Judge(self._signature, self._features, self._preprocess is not None).judge(rows, documents)

    def _decode(self, records: list[KafkaRecord]) -> DecodedChunk:
        chunk = DecodedChunk(records, [], {}, [None] * len(records) if self._keep else None)
        if not records:
            return chunk
        if self.has_fields:
            self._decode_documents(chunk)
        elif self.input_format == NPY:
            self._decode_npy(chunk)
        else:
            self._decode_bytes(chunk)
        return chunk

    def _decode_documents(self, chunk: DecodedChunk) -> None:
        rows, documents = self._documents(chunk)
        if chunk.documents is not None:
            for row, document in zip(rows, documents, strict=True):
                chunk.documents[row] = document
        if self._pass_through is not None:
            rows, documents = self._carry(chunk, self._pass_through, rows, documents)
        if self._preprocess is not None:
            rows, documents = self._preprocess.apply(rows, documents, chunk.failures)
        if self._features is not None:
            rows, documents = _map_each(chunk.failures, rows, documents, self._features.pick)
        if self._prompting is not None:
            rows, documents = _map_each(chunk.failures, rows, documents, self._prompting.inputs)
        if self._preprocess is not None:
            rows, documents, groups = self._preprocess.with_arrays(rows, documents, chunk.failures)
            for group_rows, tensors in groups:
                self._add(chunk, group_rows, tensors)
        if not rows:
            return
        if not self._signature.known:
            self._pass(chunk, rows, documents)
            return
        for group_rows, tensors in self._caster.cast(rows, documents, chunk.failures):
            self._add(chunk, group_rows, tensors)

    def _documents(self, chunk: DecodedChunk) -> tuple[Sequence[int], list[Any]]:
        """Parses the values; returns the rows that are readable with their documents."""
        values = [record.value for record in chunk.records]
        if self._framed:
            values = [framed_value(record, self.input_format == PROTOBUF) for record in chunk.records]
        if self._reader is not None:
            rows, found = self._read_each(chunk, values, self._reader.read)
            return rows, without_nulls(found, self._absent_if_null) if self._absent_if_null else found
        if self.input_format != JSON:
            return self._read_each(chunk, values, whole_value)
        try:
            # For null, orjson raises, too.
            found = loads_all_exactly(values) if self._exact else list(map(orjson.loads, values))  # type: ignore[arg-type]
        except (ValueError, RecursionError):
            return self._read_each(chunk, values, parse_json if self._exact else _parse_quickly)
        return range(len(values)), found

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
                chunk.failures[row] = field_error(error)
            else:
                rows.append(row)
        return rows, found

    def _carry(
        self, chunk: DecodedChunk, pass_through: PassThrough, rows: Sequence[int], documents: list[Any]
    ) -> tuple[list[int], list[Any]]:
        carried = chunk.carried = [b""] * len(chunk.records)
        kept, found = [], []
        for row, document in zip(rows, documents, strict=True):
            try:
                carried[row] = pass_through.members(document, self._json_text(chunk.records[row]))
            except FieldMismatch as error:
                chunk.failures[row] = field_error(error)
            else:
                kept.append(row)
                found.append(document)
        return kept, found

    def _json_text(self, record: KafkaRecord) -> bytes | None:
        if self.input_format != JSON:
            return None
        return unframed_value(record) if self._framed else record.value

    def _pass(self, chunk: DecodedChunk, rows: Sequence[int], documents: list[Any]) -> None:
        """Passes JSON on unchanged, for a server that publishes no signature."""
        if self.input_format != JSON:
            documents = [with_bytes_as_b64(document) for document in documents]
        if not can_be_sent_on(documents):
            good = list(map(can_be_sent_on, documents))
            for row in itertools.compress(rows, (not g for g in good)):
                message = "can't be sent on: nested too deeply, or half a surrogate pair"
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
                message = f"the value ({counted(len(value), 'byte')}) is not a serialized tf.Example with features"
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


_parse_quickly = functools.partial(parse_json, loads=orjson.loads)


def _map_each(
    failures: dict[int, Failure], rows: Sequence[int], documents: list[Any], change: Callable[[Any], Any]
) -> tuple[list[int], list[Any]]:
    """Applies ``change`` to each document; a ``FieldMismatch`` becomes the failure of that row."""
    kept, changed = [], []
    for row, document in zip(rows, documents, strict=True):
        try:
            changed.append(change(document))
        except FieldMismatch as error:
            failures[row] = field_error(error)
        else:
            kept.append(row)
    return kept, changed


def _missing(value: bytes | None) -> Failure:
    if value is None:
        return DeadLetterClass.TOMBSTONE.failure("the value is null (a tombstone), so there is nothing to predict from")
    return DeadLetterClass.EMPTY_VALUE.failure("the value is empty (0 bytes)")


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
