"""The table of record fields and model inputs: a row for each input, with what was seen in the records and whether it fits.

The real ``Decoder`` decides whether a record fits; the table says why, for each input. Every input of every record is
judged, even if another input of the record does not fit. By default the table shows types, shapes and lengths, but no
values.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from pipeline.checking.candidates import are_images
from pipeline.checking.rounding import rounding
from transforms.decode.judging import Judged
from transforms.formats.options import FormatOptions, Paths
from transforms.formats.sources import parse_source
from transforms.json_kinds import is_b64, json_kind
from transforms.types import DecodedChunk, KafkaRecord, Signature, TensorSpec

FITS = "fits"
IGNORED = "not an input: ignored"
AS_IT_IS = "sent as it is: the server publishes no signature"

RECORD = "(record)"
"""The field of a row that is about whole records."""
UNREAD = "no record could be read"

MAX_OTHERS = 20
"""The most rows for fields that are not inputs: a record may have thousands."""
MAX_NAME = 60
MAX_VALUE = 60
MAX_KINDS = 3


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


def expected_rows(signature: Signature, by_field: bool, features: Paths = ()) -> list[FieldRow]:
    """Returns the table of expected inputs, for when no records were read.

    Args:
        signature: What the model takes.
        by_field: Whether records have fields: read as JSON, Avro or Protobuf, or made so by ``--preprocess``.
        features: Where in a record the inputs are, if not in fields of their names.
    """
    if not signature.known:
        return [FieldRow(RECORD, "JSON", "", verdict=AS_IT_IS)]
    if signature.takes_examples:
        return [FieldRow(RECORD, "tf.Example", "")]
    names = {name: name if by_field else f"(record) → {name}" for name in signature.inputs}
    for name, path in features:
        only = name or next(iter(signature.inputs))
        names[only] = f"{parse_source(path).label} → {only}"
    return [FieldRow(names[name], *_declared(spec)) for name, spec in signature.inputs.items()]


def sampled_rows(
    signature: Signature,
    records: Sequence[KafkaRecord],
    decoded: DecodedChunk,
    judged: Judged | None,
    show_values: bool,
    formats: FormatOptions | None = None,
) -> list[FieldRow]:
    """Returns the table for records that were read.

    Args:
        signature: What the model takes.
        records: The records.
        decoded: What the decoder made of them.
        judged: What it says of their inputs one by one; ``None`` where records have no fields.
        show_values: Whether values may be shown.
        formats: The options of the formats: where inputs are, if not in fields of their names.
    """
    formats = formats or FormatOptions()
    expected = expected_rows(signature, judged is not None, formats.features)
    if judged is None:  # one row, as only records with fields have several inputs
        return [_whole_record(expected[0], records, decoded, show_values)]
    own = not formats.features and formats.preprocess is None and formats.prompt is None
    others = _others(signature, judged.documents) if own else {}
    found = zip(expected, signature.inputs.items(), strict=True)
    rows = [_input_row(row, name, spec, judged, len(records), show_values, others) for row, (name, spec) in found]
    for name, values in list(others.items())[:MAX_OTHERS]:
        value = _shown(values[0]) if show_values else ""
        rows.append(FieldRow(_name(name), "", "", _kinds(map(_kind, values)), IGNORED, value=value))
    if len(others) > MAX_OTHERS:
        rows.append(FieldRow(f"… and {len(others) - MAX_OTHERS} more", "", "", "", IGNORED))
    at_fault = judged.at_fault()
    if unexplained := [failure.message for row, failure in sorted(decoded.failures.items()) if row not in at_fault]:
        rows.append(FieldRow(RECORD, "", "", "", _counted(unexplained, len(records)), len(unexplained)))
    return rows


def _input_row(
    expected: FieldRow,
    name: str,
    spec: TensorSpec,
    judged: Judged,
    read: int,
    show_values: bool,
    others: Mapping[str, Sequence[Any]],
) -> FieldRow:
    about = re.compile(rf"{re.escape(name)} \(.*?\): ")  # the path to it, which the row names already
    judgements = judged.inputs[name]
    values = [value for one in judgements for value in one.values]
    missing = [one.missing for one in judgements if one.missing]
    problems = [one.problem for one in judgements if one.problem]
    total = len(judgements)
    verdicts = []
    if missing and not spec.has_default:
        where = f"; {missing[0]}" if expected.field != name else _nearest(name, others)
        verdicts.append(f"missing in {len(missing)} of {total}{where}")
    if problems:
        verdicts.append(_counted([about.sub("", problem, count=1) for problem in problems], total))
    verdict = "; ".join(verdicts)
    if not verdict:
        unread = f" in {total:,} of {read:,}; the others fail before it" if total < read else ""
        moved = rounding(spec.dtype, values)
        verdict = f"{FITS}{unread}{_image(spec, values)}{'; ' if moved else ''}{moved}" if total else UNREAD
    if missing and spec.has_default:
        verdict += f" (left out in {len(missing)} of {total}, where the model's own default counts)"
    wrong = sum(one.at_fault for one in judgements)
    value = _shown(values[0]) if show_values and values else ""
    return dataclasses.replace(expected, sample=_kinds(map(_kind, values)), verdict=verdict, wrong=wrong, value=value)


def _counted(messages: Sequence[str], total: int) -> str:
    """Returns each kind of mistake with its number of records: each kind needs its own cure."""
    kinds = collections.Counter(messages).most_common()
    told = [f"{message} ({count} of {total})" for message, count in kinds[:MAX_KINDS]]
    if rest := sum(count for _, count in kinds[MAX_KINDS:]):
        told.append(f"others ({rest} of {total})")
    return "; ".join(told)


def _image(spec: TensorSpec, values: Sequence[Any]) -> str:
    """Returns a warning about images as base64: the text fits the input, but a model that takes the bytes refuses it."""
    if spec.dtype != "string" or not values or not are_images(values):
        return ""
    return "; an image as base64 text: if the model takes its bytes, |base64 behind its path in --features"


def _others(signature: Signature, documents: Sequence[Any]) -> dict[str, list[Any]]:
    """Returns the fields that are not inputs, with their values."""
    found: dict[str, list[Any]] = {}
    for document in documents:
        if type(document) is dict and not is_b64(document):
            for name, value in document.items():
                if name not in signature.inputs:
                    found.setdefault(name, []).append(value)
    return found


def _whole_record(expected: FieldRow, records: Sequence[KafkaRecord], decoded: DecodedChunk, show_values: bool) -> FieldRow:
    """Returns the row of records without fields: all failures are its."""
    messages = [failure.message for _, failure in sorted(decoded.failures.items())]
    values = [record.value for record in records]
    lengths = [len(value) for value in values if value is not None]
    span = dict.fromkeys((f"{min(lengths):,}", f"{max(lengths):,}")) if lengths else {}
    parts = [f"{' to '.join(span)} bytes"] if span else []
    if nulls := len(values) - len(lengths):
        parts.append(f"{nulls} null")
    wrong = len(messages)
    verdict = _counted(messages, len(values)) if wrong else expected.verdict or FITS
    first = next((value for value in values if value), None)
    value = _shown(first) if show_values and first is not None else ""
    return dataclasses.replace(expected, sample=", ".join(parts), verdict=verdict, wrong=wrong, value=value)


def _nearest(name: str, fields: Mapping[str, Sequence[Any]]) -> str:
    others = [other for other, values in fields.items() if not all(type(value) is dict for value in values)]
    close = [other for other in others if other.casefold() == name.casefold()]
    close = close or difflib.get_close_matches(name, others, 1, 0.6)
    return f"; did you mean {_name(close[0])!r}?" if close else ""


def _declared(spec: TensorSpec) -> tuple[str, str]:
    if spec.shape is None:
        return spec.dtype, "any"
    return spec.dtype, str(TensorSpec("", spec.shape[1:])) if spec.shape[1:] else "one"


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {TensorSpec(value.dtype.name, value.shape)}"
    return value.dtype.name if isinstance(value, np.generic) else json_kind(value)


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
