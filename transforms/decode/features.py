"""Features that are in memory already (NumPy arrays, Python values) → tensors by the model's signature.

An element is one row: a mapping of input name to value or, for a model of one input, the bare value. The rules are those of
JSON records (``casting.py``), for arrays: floats round but never become infinite, integers must be in range,
``bool`` and strings take nothing else. What becomes of an element never depends on the others.
"""

from __future__ import annotations

import base64
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.casting import FieldMismatch
from transforms.formats.codecs import UNKNOWN_INPUT, can_be_sent_on
from transforms.types import DecodedChunk, Segment, Signature, TensorSpec

EXAMPLES_INPUT = "inputs"
"""The name that serialized ``tf.Example`` records go by where the signature declares no input of its own."""

_KINDS = {"f": "fiu", "i": "iuf", "u": "iuf", "b": "b", "c": "fiuc"}
"""Kind of the declared dtype to the kinds of arrays that may become it, if every value does."""


class FeatureDecoder:
    """Makes rows of tensors for one signature. Holds no I/O and may be pickled.

    Args:
        signature: What the model takes.
    """

    def __init__(self, signature: Signature):
        self._signature = signature
        names = list(signature.inputs)
        self._single = names[0] if len(names) == 1 else None

    def decode(self, elements: Sequence[Any]) -> DecodedChunk:
        """Decodes elements; every row ends up in exactly one of segments and failures (class ``FieldError``).

        Returns:
            A chunk without records: its rows are the elements' indexes.
        """
        chunk = DecodedChunk([], [], {})
        alike: dict[Hashable, tuple[list[int], list[dict[str, np.ndarray]]]] = {}
        for row, element in enumerate(elements):
            try:
                fields = self._fields(element)
            except FieldMismatch as error:
                chunk.failures[row] = DeadLetterClass.FIELD_ERROR.failure(str(error))
                continue
            shapes = tuple([(name, array.dtype.str, array.shape) for name, array in fields.items()])
            rows, members = alike.setdefault(shapes, ([], []))
            rows.append(row)
            members.append(fields)
        for key, (rows, members) in alike.items():
            tensors = {name: np.stack([fields[name] for fields in members]) for name in members[0]}
            chunk.segments.append(Segment(key, rows, tensors))
        return chunk

    def _fields(self, element: Any) -> dict[str, np.ndarray]:
        signature = self._signature
        if signature.takes_examples:
            return {self._single or EXAMPLES_INPUT: _serialized_example(element)}
        if not signature.known:
            document = _json_like(element)
            if not can_be_sent_on(document):
                raise FieldMismatch("the features can't be sent as JSON: of a type that JSON has not, or nested too deeply")
            return {UNKNOWN_INPUT: _scalar_object(document)}
        if not isinstance(element, Mapping):
            if self._single is None:
                inputs = ", ".join(f"{name}: {spec}" for name, spec in signature.inputs.items())
                raise FieldMismatch(f"expected a mapping of the inputs {inputs}; came {type(element).__name__}")
            element = {self._single: element}
        fields = {}
        for name, spec in signature.inputs.items():
            if name in element:
                fields[name] = _cast(name, spec, element[name])
            elif not spec.has_default:
                came = ", ".join(str(key)[:40] for key in list(element)[:8]) or "none"
                raise FieldMismatch(f"{name}: missing; expected {_row(spec)}; features that came: {came}")
        if not fields:
            raise FieldMismatch(f"has none of the inputs ({', '.join(signature.inputs)})")
        return fields


def _cast(name: str, spec: TensorSpec, value: Any) -> np.ndarray:
    """One row of one input, without the batch dimension; raises ``FieldMismatch``."""
    array = _strings(name, value) if spec.dtype == "string" else _numbers(name, spec, value)
    dims = None if spec.shape is None else spec.shape[1:]
    if dims is not None and not _fits(array.shape, dims):
        shape = ",".join(map(str, array.shape))
        batched = array.shape[:1] == (1,) and _fits(array.shape[1:], dims)
        hint = "; an element is one row: leave the batch dimension out" if batched else ""
        raise FieldMismatch(f"{name}: expected {_row(spec)}, came an array of shape [{shape}]{hint}")
    return array


def _fits(shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    return len(shape) == len(dims) and all(d in (-1, size) for d, size in zip(dims, shape, strict=True))


def _numbers(name: str, spec: TensorSpec, value: Any) -> np.ndarray:
    wanted = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise FieldMismatch(f"{name}: expected {_row(spec)}, came what is no array ({type(error).__name__})") from error
    if array.dtype == wanted:
        return array
    if array.dtype.name == "bfloat16":  # of ml_dtypes, which NumPy knows by name only
        array = array.astype(np.float32)
    if array.dtype.kind not in _KINDS[wanted.kind]:
        raise FieldMismatch(f"{name}: expected {_row(spec)}, came {array.dtype.name}")
    with np.errstate(all="ignore"):  # what does not survive the cast is found by looking
        cast = array.astype(wanted)
        exact = wanted.kind in "iu"
        survives = (cast == array) if exact else (np.isfinite(cast) | ~np.isfinite(array))
    if not survives.all():
        why = "a number is out of range, or has a fraction" if exact else "a number is out of range"
        raise FieldMismatch(f"{name}: {why} for {spec.dtype}")
    return cast


def _strings(name: str, value: Any) -> np.ndarray:
    array = np.empty((), object)
    if isinstance(value, str | bytes | np.str_ | np.bytes_):
        array[()] = value  # np.asarray would cut trailing zero bytes off
    else:
        try:
            array = np.asarray(value, object)
        except ValueError as error:
            raise FieldMismatch(f"{name}: expected strings, came what is no array") from error
    flat = []
    for item in array.ravel().tolist():
        if not isinstance(item, str | bytes):
            raise FieldMismatch(f"{name}: expected str or bytes, came {type(item).__name__}")
        try:
            flat.append(item.encode() if isinstance(item, str) else bytes(item))
        except UnicodeEncodeError as error:
            raise FieldMismatch(f"{name}: the string is not valid Unicode: it has a lone surrogate") from error
    return np.fromiter(flat, dtype=object, count=len(flat)).reshape(array.shape)


def _serialized_example(element: Any) -> np.ndarray:
    if isinstance(element, Mapping) and len(element) == 1:
        (element,) = element.values()
    if hasattr(element, "SerializeToString"):
        element = element.SerializeToString()
    if not isinstance(element, bytes):
        raise FieldMismatch(f"expected a tf.Example or its bytes, came {type(element).__name__}")
    return _scalar_object(element)


def _json_like(value: Any) -> Any:
    """The value as JSON has it, for servers that publish no signature; what it can't have stays, and is refused later."""
    if isinstance(value, Mapping):
        return {str(name): _json_like(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _json_like(value.tolist())
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_json_like(item) for item in value]
    return value


def _scalar_object(value: Any) -> np.ndarray:
    array = np.empty((), object)
    array[()] = value
    return array


def _row(spec: TensorSpec) -> str:
    return f"{spec.dtype} of any shape" if spec.shape is None else str(TensorSpec(spec.dtype, spec.shape[1:]))
