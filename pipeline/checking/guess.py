"""``--guess_signature``: guesses a model's signature from the fields of the records, for a ``--signature`` file.

Somebody who knows the model has to complete the guess, because it is made from the records only: JSON does not distinguish
float32 from float64, and does not show which fields the model does not use.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from transforms.clients.declared import NAME
from transforms.errors import ContractError
from transforms.formats.codecs import UNKNOWN_INPUT
from transforms.headers import source_of
from transforms.json_kinds import is_b64, json_kind
from transforms.printable import counted, shortened
from transforms.types import METHOD_PREDICT, KafkaRecord, Signature, TensorSpec

if TYPE_CHECKING:
    from transforms.stages import DecodeConfig

NEARLY_ALL = 0.75
"""The part of the records whose form is taken for the right one. With less, nothing says which of them are broken."""

SOLE_INPUT = "x"
"""The name for records that are no objects, but one value each."""

_KINDS: dict[type, str] = {bool: "bool", int: "int64", float: "float32", str: "string", bytes: "string"}
UNKNOWN = Signature(NAME, METHOD_PREDICT, {}, {}, known=False)


class Guess(NamedTuple):
    """What was guessed.

    Attributes:
        signature: A signature that takes the fields of the records.
        left_out: How many records played no part: they can't be read, or nearly all others have another form.
        why: The first of them, and what is wrong with it; empty if there is none.
    """

    signature: Signature
    left_out: int
    why: str


def guess_signature(decode: DecodeConfig, records: Sequence[KafkaRecord]) -> Guess:
    """Guesses a signature that takes the fields of the records, as ``--features`` and ``--preprocess`` leave them.

    Args:
        decode: How the job decodes records.
        records: Some of the topic's.

    Raises:
        ContractError: No record is readable, or a field has no form as an input; the message names it and the cure.
    """
    if decode.formats.prompt is not None:
        raise ContractError(f"--guess_signature: with --prompt the model takes one text; write yourself: {_ONE_TEXT}")
    decoded = dataclasses.replace(decode, signature=UNKNOWN).decoder().decode(list(records))
    documents: dict[int, Any] = {}
    for segment in decoded.segments:
        documents.update(zip(segment.rows, segment.tensors[UNKNOWN_INPUT].tolist(), strict=True))
    wrong = {row: failure.message for row, failure in decoded.failures.items()}
    if not documents:
        why = next((f": {message}" for message in wrong.values()), "")
        raise ContractError(f"--guess_signature: none of the {len(records)} records read is readable{why}")
    wrong.update(_odd_ones(documents))
    inputs = _inputs([document for row, document in documents.items() if row not in wrong])
    why = next((f"{source_of(records[row]).decode()}: {wrong[row]}" for row in sorted(wrong)), "")
    return Guess(Signature(NAME, METHOD_PREDICT, inputs, {}), len(wrong), why)


def _odd_ones(documents: Mapping[int, Any]) -> dict[int, str]:
    """Returns the rows whose form is not that of nearly all, and what is odd about them."""
    odd = _outvoted({row: "fields" if _has_fields(document) else "one value" for row, document in documents.items()}, "has")
    kept = {row: document for row, document in documents.items() if row not in odd}
    if not all(map(_has_fields, kept.values())):
        return odd | _outvoted({row: _form(SOLE_INPUT, document) for row, document in kept.items()}, "is")
    for name in dict.fromkeys(name for document in kept.values() for name in document):
        forms = {row: _form(name, document[name]) for row, document in kept.items() if document.get(name) is not None}
        odd.update(_outvoted(forms, f"'{shortened(name)}' has") | odd)
    return odd


def _outvoted(forms: Mapping[int, str], has: str) -> dict[int, str]:
    """Returns the rows of another form than the most frequent one, if that is nearly all's."""
    if not forms:
        return {}
    form, count = collections.Counter(forms.values()).most_common(1)[0]
    if count < len(forms) * NEARLY_ALL:
        return {}
    return {row: f"{has} {its}, most others {form}" for row, its in forms.items() if its != form}


def _form(name: str, value: Any) -> str:
    """Describes the form of a value: what a record may not differ in from the others."""
    kinds: set[type] = set()
    try:
        dimensions = len(_shape(value, kinds, name))
    except ContractError:
        return json_kind(value) if type(value) is not list else "lists that no input takes"
    dtypes = {_KINDS[kind] for kind in kinds}
    dtype = "numbers" if dtypes and dtypes <= {"int64", "float32"} else " and ".join(sorted(dtypes)) or "empty lists"
    return f"{dtype} in lists of {counted(dimensions, 'dimension')}" if dimensions else dtype


def _has_fields(document: Any) -> bool:
    return type(document) is dict and not is_b64(document)


def _inputs(documents: Sequence[Any]) -> dict[str, TensorSpec]:
    if not all(map(_has_fields, documents)):
        return {SOLE_INPUT: _spec(SOLE_INPUT, documents, len(documents))}
    columns: dict[str, list[Any]] = {}
    for document in documents:
        for name, value in document.items():
            if value is not None:
                columns.setdefault(name, []).append(value)
    if not columns:
        raise ContractError("--guess_signature: the records have no fields")
    return {name: _spec(name, values, len(documents)) for name, values in columns.items()}


def _spec(name: str, values: Sequence[Any], rows: int) -> TensorSpec:
    shapes: set[tuple[int, ...]] = set()
    kinds: set[type] = set()
    for value in values:
        shapes.add(_shape(value, kinds, name))
    if len(set(map(len, shapes))) != 1:
        raise ContractError(f"--guess_signature: '{shortened(name)}' is a list in some records only; {_CURE}")
    if kinds > {float} and kinds <= {int, float}:
        kinds = {float}
    dtypes = {_KINDS[kind] for kind in kinds}
    if len(dtypes) != 1:
        came = " and ".join(sorted(dtypes)) or "empty lists"
        raise ContractError(f"--guess_signature: '{shortened(name)}' has {came}; {_CURE}")
    sizes = tuple(
        size if len({shape[axis] for shape in shapes}) == 1 else -1 for axis, size in enumerate(next(iter(shapes)))
    )
    return TensorSpec(dtypes.pop(), (-1, *sizes), has_default=len(values) < rows)


def _shape(value: Any, kinds: set[type], name: str) -> tuple[int, ...]:
    """Returns the sizes of nested lists, -1 where they differ, and adds the kinds of what is in them."""
    if is_b64(value):
        kinds.add(bytes)
        return ()
    if type(value) is list:
        inner = {_shape(item, kinds, name) for item in value}
        if len(set(map(len, inner))) > 1:
            raise ContractError(f"--guess_signature: '{shortened(name)}' has lists of different depth; {_CURE}")
        rest = tuple(sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*inner, strict=True))
        return (len(value), *rest)
    if type(value) not in _KINDS:
        raise ContractError(f"--guess_signature: '{shortened(name)}' has {json_kind(value)}, which no input takes; {_CURE}")
    kinds.add(type(value))
    return ()


_ONE_TEXT = '{"inputs": {"prompt": {"dtype": "string", "shape": [-1]}}}'

_CURE = "name what the model takes by --features, such as --features=x=$.field.inside, and guess again"
