"""``Encoder``: makes output records of predicted chunks: the outputs as JSON, and the input's key, timestamp and headers.

Every record of a chunk gives one output record, in the order of the chunk: a prediction or a dead letter. A row that can't
be encoded does not affect other rows.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.dead_letter import dead_letter
from transforms.dead_letter_classes import DeadLetterClass
from transforms.encode.labels import RANKED, Ranking
from transforms.encode.postprocess import Postprocess
from transforms.errors import ContractError
from transforms.formats.codecs import JsonError, parse_json
from transforms.formats.frame import VALUE_HEADER, unframed_value
from transforms.formats.json_columns import Texts, column_texts, value_text
from transforms.formats.output_schema import OutputSchema, writer_of
from transforms.formats.output_values import OutputMismatchError
from transforms.headers import ATTEMPTS, LATENCY, MODEL, ON_PREDICTIONS, SOURCE, VERSION
from transforms.internal_errors import internal_failure, one_by_one
from transforms.own_code import OwnFunction
from transforms.printable import MOST_SAID, shortened
from transforms.types import (
    STAGE_ENCODE,
    AnsweredSegment,
    Failure,
    Header,
    OutputRecord,
    PredictedChunk,
    Signature,
)

PREDICTION = "prediction"
MERGE = "merge"
OUTPUT_MODES = (PREDICTION, MERGE)

_BLANKS = b" \t\r\n"

_REPLACED = ON_PREDICTIONS | {VALUE_HEADER}
"""Headers of the input that its prediction has not: those of a pipeline before, so that there is one of each name, and the
one that says which schema the *input's* value is of."""


class Encoder:
    """Encodes predicted chunks. It does no I/O and can be pickled.

    A prediction's value is ``{"output": …, …}`` (see ``json_columns.py``), outputs sorted by name; with labels or
    ``top_k`` it is ``{"label", "score", "top"}`` (see ``labels.py``). With ``merge`` the original object is kept
    byte for byte and gets one more field, ``prediction``; an original that is not an object becomes
    ``{"input": original, "prediction": …}``. With a schema, these fields are written by it.
    """

    def __init__(
        self,
        output_topic: str,
        dead_letter_topic: str,
        model: str,
        output_mode: str = PREDICTION,
        labels: Sequence[str] | None = None,
        top_k: int | None = None,
        signature: Signature | None = None,
        max_value_bytes: int | None = None,
        pass_through: Sequence[str] = (),
        framed: bool = False,
        postprocess: OwnFunction | None = None,
        schema: OutputSchema | None = None,
    ):
        """Checks the flags against the signature.

        Args:
            output_topic: The topic of predictions.
            dead_letter_topic: The topic of dead letters.
            model: The model's name, for the header ``inference.model``.
            output_mode: ``prediction`` or ``merge``.
            labels: Class names by index, to rank scores.
            top_k: The number of classes to list.
            signature: The signature of the model, if it is known.
            max_value_bytes: The size limit of a prediction's value in bytes; a larger one is a dead letter. ``None`` for no
                limit.
            pass_through: The names of the values that chunks carry from the input to the output.
            framed: Whether the records have a schema registry's frame, which ``merge`` leaves out.
            postprocess: The user's function of a prediction's fields, or its ``MODULE:FUNCTION``.
            schema: The schema that predictions are written by, behind a schema registry's frame; ``None`` for JSON.

        Raises:
            ContractError: Flags and signature do not fit together; the message names the flag and the cure.
            ConfigError: There is no such function, or it can't be called.
        """
        if output_mode not in OUTPUT_MODES:
            raise ContractError(f"--output_mode={output_mode}: unknown; use one of {', '.join(OUTPUT_MODES)}")
        self._output_topic = output_topic
        self._dead_letter_topic = dead_letter_topic
        self._model: Header = (MODEL, model.encode())
        self._merge = output_mode == MERGE
        self._max_value_bytes = max_value_bytes
        self._pass_through = frozenset(pass_through)
        self._framed = framed
        self._postprocess = None if postprocess is None else Postprocess(postprocess)
        self._schema = schema
        self._dtypes = {name: spec.dtype for name, spec in signature.outputs.items()} if signature is not None else {}
        self._ranking = Ranking(labels, top_k, signature) if labels is not None or top_k is not None else None
        written = RANKED if self._ranking is not None else self._dtypes
        if taken := sorted(self._pass_through.intersection(written)):
            raise ContractError(
                f"--pass_through={taken[0]}: the model's output has this name; give NAME=PATH with another name"
            )
        if self._ranking is None:
            for name, dtype in self._dtypes.items():
                if dtype.startswith("complex"):
                    raise ContractError(
                        f"--model: output '{name}' is {dtype}, which has no JSON form; "
                        "choose another signature with ?signature=NAME"
                    )

    def encode(self, chunk: PredictedChunk) -> list[OutputRecord]:
        """Returns one output record for each record of the chunk, in its order.

        Dead-letter classes: ``EncodeError`` (an output has no JSON form, or does not fit the schema), ``LabelError`` (scores
        can't be ranked),
        ``FieldCollision``, ``PostprocessError``, ``MergeError`` (the original is not JSON), ``RecordTooLarge``, and
        ``InternalError`` (our code raises on a row).

        Raises:
            ValueError: A row of the chunk has neither an answer nor a failure, or both, which is a mistake of the caller.
        """
        records = chunk.records
        written: list[OutputRecord | None] = [None] * len(records)
        for answer in chunk.answers:

            def encode(at: Sequence[int], answer: AnsweredSegment = answer) -> None:
                self._encode_answer(chunk, answer if len(at) == len(answer.rows) else _row_of(answer, at[0]), written)

            def failed(at: int, error: Exception, answer: AnsweredSegment = answer) -> None:
                row, failure = answer.rows[at], internal_failure(STAGE_ENCODE, error, answer.attempts)
                written[row] = dead_letter(records[row], failure, self._dead_letter_topic)

            one_by_one(encode, range(len(answer.rows)), failed)
        for row, failure in chunk.failures.items():
            written[row] = dead_letter(records[row], failure, self._dead_letter_topic)
        complete = [record for record in written if record is not None]
        outcomes = sum([len(answer.rows) for answer in chunk.answers]) + len(chunk.failures)
        if not len(complete) == outcomes == len(records):
            raise ValueError(f"{len(records)} records, but {outcomes} outcomes for {len(complete)} of them")
        return complete

    def _encode_answer(self, chunk: PredictedChunk, answer: AnsweredSegment, written: list[OutputRecord | None]) -> None:
        rows, records = answer.rows, chunk.records
        texts, errors = self._texts(answer.outputs, len(rows))
        kind = DeadLetterClass.ENCODE_ERROR if self._ranking is None else DeadLetterClass.LABEL_ERROR
        failures = {i: kind.failure(why, answer.attempts) for i, why in errors.items()}
        if chunk.carried is not None:
            texts = [_with_members(chunk.carried[row], text) for row, text in zip(rows, texts, strict=True)]
            if taken := sorted(self._pass_through.intersection(answer.outputs)) if self._ranking is None else []:
                message = f"--pass_through={taken[0]}: the model's output has this name; give NAME=PATH with another name"
                failures = {i: DeadLetterClass.FIELD_COLLISION.failure(message, answer.attempts) for i in range(len(rows))}
        if self._postprocess is not None:
            texts = self._postprocess.apply(texts, failures, answer.attempts)
        if self._merge:
            texts = self._merged(chunk, answer, texts, failures)
        if self._schema is not None:
            texts = _by_schema(self._schema, texts, failures, answer.attempts)
        limit = self._max_value_bytes
        if limit is not None and max(map(len, texts), default=0) > limit:
            for i, text in enumerate(texts):
                if len(text) > limit and i not in failures:
                    message = f"the prediction has {len(text)} bytes; at most {limit} are allowed"
                    failures[i] = DeadLetterClass.RECORD_TOO_LARGE.failure(message, answer.attempts)
        topic, model = self._output_topic, self._model
        version = (VERSION, shortened(answer.version, MOST_SAID).encode())
        latency = (LATENCY, b"%.1f" % answer.latency_ms)
        attempts = (ATTEMPTS, b"%d" % answer.attempts)
        new = functools.partial(tuple.__new__, OutputRecord)  # half the time of OutputRecord(…), for every record
        of_rows = answer.row_headers or itertools.repeat(())
        for row, text, of_row in zip(rows, texts, of_rows, strict=False):
            source_topic, partition, offset, timestamp_ms, key, _, headers = records[row]
            source = (SOURCE, f"{source_topic}/{partition}/{offset}".encode())
            added = [model, version, source, latency, attempts, *answer.headers, *of_row]
            if headers:
                added = [header for header in headers if header[0] not in _REPLACED] + added
            written[row] = new((topic, key, text, added, timestamp_ms, (source_topic, partition, offset), None))
        for i, failure in failures.items():
            written[rows[i]] = dead_letter(records[rows[i]], failure, self._dead_letter_topic)

    def _texts(self, outputs: Mapping[str, Sequence[Any] | np.ndarray], rows: int) -> Texts:
        if self._ranking is not None:
            return self._ranking.texts(outputs, rows)
        names = tuple(sorted(outputs))  # a protobuf map has no order, but every record must have the same
        columns, errors = [], {}
        for name in names:
            texts, column_errors = column_texts(name, outputs[name], self._dtypes.get(name))
            columns.append(texts)
            errors.update(column_errors)
        if len(names) == 1:
            start = b"{" + value_text(names[0]) + b":"
            return [start + text + b"}" for text in columns[0]], errors
        if not names:
            return [b"{}"] * rows, errors
        template = _template(names)
        return [template % texts for texts in zip(*columns, strict=True)], errors

    def _merged(
        self, chunk: PredictedChunk, answer: AnsweredSegment, texts: list[bytes], failures: dict[int, Failure]
    ) -> list[bytes]:
        """Returns the originals with their predictions. The original's text is kept, so its numbers keep all digits."""
        merged = []
        for i, (row, text) in enumerate(zip(answer.rows, texts, strict=True)):
            record = chunk.records[row]
            value = (unframed_value(record) if self._framed else record.value or b"").strip(_BLANKS)
            try:
                document = parse_json(value) if chunk.documents is None else chunk.documents[row]
            except JsonError as error:
                message = f"--output_mode=merge can't merge into this record: {error}"
                failures.setdefault(i, DeadLetterClass.MERGE_ERROR.failure(message, answer.attempts))
                document = None
            if type(document) is not dict:
                merged.append(b'{"input":%b,"prediction":%b}' % (value, text))
            elif not document:
                merged.append(b'{"prediction":%b}' % text)
            else:
                merged.append(b'%b,"prediction":%b}' % (value[:-1], text))
                if PREDICTION in document:
                    message = "the record already has a field 'prediction'; rename it, or use --output_mode=prediction"
                    failures.setdefault(i, DeadLetterClass.FIELD_COLLISION.failure(message, answer.attempts))
        return merged


def _row_of(answer: AnsweredSegment, at: int) -> AnsweredSegment:
    outputs = {name: values[at : at + 1] for name, values in answer.outputs.items()}
    row_headers = answer.row_headers[at : at + 1]
    return dataclasses.replace(answer, rows=answer.rows[at : at + 1], outputs=outputs, row_headers=row_headers)


def _by_schema(schema: OutputSchema, texts: Sequence[bytes], failures: dict[int, Failure], attempts: int) -> list[bytes]:
    """Returns the predictions in the schema's form; those of rows with a failure are left as they are."""
    writer, written = writer_of(schema), []
    for row, text in enumerate(texts):
        if row not in failures:
            try:
                text = writer.write(text)
            except OutputMismatchError as error:
                which = f" (id {schema.number})" if schema.number else ""  # a check registers none
                message = f"the prediction does not fit its schema{which}: {error}"
                failures[row] = DeadLetterClass.ENCODE_ERROR.failure(message, attempts)
        written.append(text)
    return written


@functools.lru_cache(maxsize=64)
def _template(names: tuple[str, ...]) -> bytes:
    fields = [value_text(name).replace(b"%", b"%%") + b":%b" for name in names]
    return b"{" + b",".join(fields) + b"}"


def _with_members(members: bytes, text: bytes) -> bytes:
    """Returns the JSON object ``text`` with ``members`` inserted before its own members."""
    return b"{" + members + (b"," + text[1:] if len(text) > 2 else b"}")
