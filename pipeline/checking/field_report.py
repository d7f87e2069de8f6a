"""The table of record fields and model inputs: a row for each input, with what was seen in the records and whether it fits.

What counts is what the real ``Decoder`` made of the records; this tells, input by input, why. Values are not told unless
asked for: only types, shapes and lengths.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.sources import parse_source
from transforms.formats.casting import Caster, FieldMismatch, describe, is_b64
from transforms.formats.codecs import DOCUMENTS
from transforms.formats.options import Paths
from transforms.types import DecodedChunk, KafkaRecord, Signature, TensorSpec

FITS = "fits"
IGNORED = "not an input: ignored"
AS_IT_IS = "sent as it is: the server publishes no signature"

NOT_JUDGED = "not judged: every record fails before it"

MAX_OTHERS = 20
"""The most rows for fields that are not inputs: a record may have thousands."""
MAX_NAME = 60
MAX_VALUE = 60
MAX_KINDS = 3

_UNREAD = tuple(
    kind.error_class for kind in (DeadLetterClass.TOMBSTONE, DeadLetterClass.EMPTY_VALUE, DeadLetterClass.JSON_ERROR)
)


@dataclasses.dataclass(frozen=True, slots=True)
class FieldRow:
    """One row of the table.

    Attributes:
        field: The field's name, which is the input's.
        dtype: What the model takes; empty for a field that is no input.
        shape: Its shape without the batch dimension.
        sample: What was seen: types, lengths, how often.
        verdict: Whether it fits, and why not; empty where nothing was read.
        wrong: How many of the records do not fit in this field.
        value: The first value seen, if values may be shown.
    """

    field: str
    dtype: str
    shape: str
    sample: str = ""
    verdict: str = ""
    wrong: int = 0
    value: str = ""


def expected_rows(signature: Signature, input_format: str, features: Paths = ()) -> list[FieldRow]:
    """Returns the table of expected inputs, for when no records were read.

    Args:
        signature: What the model takes.
        input_format: How records are decoded.
        features: Where in a record the inputs are, if not in fields of their names.
    """
    if not signature.known:
        return [FieldRow("(record)", "JSON", "", verdict=AS_IT_IS)]
    if signature.takes_examples:
        return [FieldRow("(record)", "tf.Example", "")]
    names = {name: name if input_format in DOCUMENTS else f"(record) → {name}" for name in signature.inputs}
    for name, path in features:
        only = name or next(iter(signature.inputs))
        names[only] = f"{parse_source(path).shown} → {only}"
    return [FieldRow(names[name], *_declared(spec)) for name, spec in signature.inputs.items()]


def sampled_rows(
    signature: Signature,
    input_format: str,
    records: Sequence[KafkaRecord],
    decoded: DecodedChunk,
    show_values: bool,
    features: Paths = (),
) -> list[FieldRow]:
    """Returns the table for records that were read.

    Args:
        signature: What the model takes.
        input_format: How they were decoded.
        records: The records.
        decoded: What the decoder made of them; with ``documents`` if they are JSON whose fields are the inputs.
        show_values: Whether values may be shown.
        features: As for ``expected_rows``.
    """
    if decoded.documents is None or not signature.known:
        expected = expected_rows(signature, input_format, features)
        names = list(signature.inputs) if len(expected) > 1 else [""]  # one row: all failures are its
        return [_whole_record(*each, records, decoded, show_values) for each in zip(expected, names, strict=True)]
    documents = [
        document
        for row, document in enumerate(decoded.documents)
        if row not in decoded.failures or decoded.failures[row].error_class not in _UNREAD
    ]
    single = len(signature.inputs) == 1
    others = _others(signature, documents)
    rows = [_input_row(name, spec, documents, single, show_values, others) for name, spec in signature.inputs.items()]
    for name, values in list(others.items())[:MAX_OTHERS]:
        value = _shown(values[0]) if show_values else ""
        rows.append(FieldRow(_name(name), "", "", _kinds(map(describe, values)), IGNORED, value=value))
    if len(others) > MAX_OTHERS:
        rows.append(FieldRow(f"… and {len(others) - MAX_OTHERS} more", "", "", "", IGNORED))
    return rows


def _input_row(
    name: str, spec: TensorSpec, documents: Sequence[Any], single: bool, show_values: bool, others: Iterable[str]
) -> FieldRow:
    caster = Caster(name, spec)
    values, missing, bad, problem = [], 0, 0, ""
    for document in documents:
        if type(document) is not dict or is_b64(document):
            if not single:
                missing += 1
                continue
            value = document
        elif name in document:
            value = document[name]
        else:
            missing += 1
            continue
        values.append(value)
        try:
            caster.cast_one(value)
        except FieldMismatch as error:
            bad, problem = bad + 1, problem or str(error)
    total = len(documents)
    verdicts = []
    if missing and not spec.has_default:
        verdicts.append(f"missing in {missing} of {total}{_nearest(name, list(others))}")
    if bad:
        verdicts.append(f"{problem} ({bad} of {total})")
    verdict = "; ".join(verdicts) or (FITS if values or missing else "no record could be read")
    if missing and spec.has_default:
        verdict += f" (left out in {missing} of {total}, where the model's own default counts)"
    wrong = bad + (0 if spec.has_default else missing)
    sample = _kinds(map(describe, values))
    return FieldRow(name, *_declared(spec), sample, verdict, wrong, _shown(values[0]) if show_values and values else "")


def _others(signature: Signature, documents: Sequence[Any]) -> dict[str, list[Any]]:
    """Returns the fields that are not inputs, with their values."""
    found: dict[str, list[Any]] = {}
    for document in documents:
        if type(document) is dict and not is_b64(document):
            for name, value in document.items():
                if name not in signature.inputs:
                    found.setdefault(name, []).append(value)
    return found


def _whole_record(
    expected: FieldRow, name: str, records: Sequence[KafkaRecord], decoded: DecodedChunk, show_values: bool
) -> FieldRow:
    """Returns a row made of the decoder's failures for one input, or of all failures if ``name`` is empty."""
    about = re.compile(rf"{re.escape(name)}( \(.*?\))?: " if name else "")  # the input, and the path to it
    messages = [failure.message for failure in decoded.failures.values() if about.match(failure.message)]
    values = [record.value for record in records]
    lengths = [len(value) for value in values if value is not None]
    parts = [f"{min(lengths):,} to {max(lengths):,} bytes"] if lengths else []
    if nulls := len(values) - len(lengths):
        parts.append(f"{nulls} null")
    wrong = len(messages)
    verdict = f"{about.sub('', messages[0], count=1)} ({wrong} of {len(values)})" if wrong else expected.verdict or FITS
    if not wrong and verdict == FITS and (unjudged := len(decoded.failures)):  # the decoder stops at a record's first fault
        judged = len(values) - unjudged
        verdict = f"{FITS} in {judged} of {len(values)}; the others fail before it" if judged else NOT_JUDGED
    first = next((value for value in values if value), None)
    value = _shown(first) if show_values and first is not None else ""
    return dataclasses.replace(expected, sample=", ".join(parts), verdict=verdict, wrong=wrong, value=value)


def _nearest(name: str, others: Sequence[str]) -> str:
    close = [other for other in others if other.casefold() == name.casefold()]
    close = close or difflib.get_close_matches(name, others, 1, 0.6)
    return f"; did you mean {_name(close[0])!r}?" if close else ""


def _declared(spec: TensorSpec) -> tuple[str, str]:
    if spec.shape is None:
        return spec.dtype, "any"
    return spec.dtype, str(TensorSpec("", spec.shape[1:])) if spec.shape[1:] else "one"


def _kinds(kinds: Iterable[str]) -> str:
    counts = collections.Counter(kinds)
    if len(counts) == 1:
        return next(iter(counts))
    shown = [f"{kind} ({count})" for kind, count in counts.most_common(MAX_KINDS)]
    return ", ".join(shown) + (", …" if len(counts) > MAX_KINDS else "")


def _name(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[:MAX_NAME] + "…"


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        text = repr(value[: MAX_VALUE * 2])[2:-1]
    else:
        try:
            text = orjson.dumps(value).decode()
        except TypeError:  # an integer beyond 64 bits, which JSON may have
            text = repr(value)
    return text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + "…"
