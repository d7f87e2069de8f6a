"""``--guess_signature``: guesses a model's signature from the fields of the records, for a ``--signature`` file.

Somebody who knows the model has to complete the guess, because it is made from the records only: JSON does not distinguish
float32 from float64, and does not show which fields the model does not use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transforms.clients.declared import NAME
from transforms.errors import ContractError
from transforms.formats.casting import is_b64, json_kind
from transforms.formats.codecs import UNKNOWN_INPUT
from transforms.printable import shortened
from transforms.types import METHOD_PREDICT, KafkaRecord, Signature, TensorSpec

if TYPE_CHECKING:
    from transforms.stages import DecodeConfig

SOLE_INPUT = "x"
"""The name for records that are no objects, but one value each."""

_KINDS: dict[type, str] = {bool: "bool", int: "int64", float: "float32", str: "string", bytes: "string"}
UNKNOWN = Signature(NAME, METHOD_PREDICT, {}, {}, known=False)


def guess_signature(decode: DecodeConfig, records: Sequence[KafkaRecord]) -> Signature:
    """Returns a signature that takes the fields of the records, as ``--features`` and ``--preprocess`` leave them.

    Args:
        decode: How the job decodes records.
        records: Some of the topic's.

    Raises:
        ContractError: No record is readable, or a field has no form as an input; the message names it and the cure.
    """
    if decode.formats.prompt is not None:
        raise ContractError(f"--guess_signature: with --prompt the model takes one text; write yourself: {_ONE_TEXT}")
    decoded = dataclasses.replace(decode, signature=UNKNOWN).decoder().decode(list(records))
    documents = [document for segment in decoded.segments for document in segment.tensors[UNKNOWN_INPUT].tolist()]
    if not documents:
        why = next((f": {failure.message}" for failure in decoded.failures.values()), "")
        raise ContractError(f"--guess_signature: none of the {len(records)} records read is readable{why}")
    return Signature(NAME, METHOD_PREDICT, _inputs(documents), {})


def _inputs(documents: Sequence[Any]) -> dict[str, TensorSpec]:
    if not all(type(document) is dict and not is_b64(document) for document in documents):
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
