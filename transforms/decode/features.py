"""Features in memory (NumPy arrays, Python values) → tensors by the model's signature.

An element is one row: a mapping of input name to value or, for a model of one input, the bare value. The rules are those for
JSON records (``formats/casting.py``): floats may be rounded but never become infinite, integers must be in range, ``bool``
takes only booleans and ``string`` only strings. The result for an element never depends on the other elements.
"""

from __future__ import annotations

import base64
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.one_by_one import decoded_one_by_one
from transforms.formats.casting import FieldMismatch
from transforms.formats.codecs import UNKNOWN_INPUT, can_be_sent_on
from transforms.types import DecodedChunk, Segment, Signature, TensorSpec

EXAMPLES_INPUT = "inputs"
"""Input name for serialized ``tf.Example`` records if the signature declares no input."""

_KINDS = {"f": "fiu", "i": "iuf", "u": "iuf", "b": "b", "c": "fiuc"}
"""NumPy kind of the declared dtype to the kinds of arrays that may be cast to it, if every value fits."""


class FeatureDecoder:
    """Makes tensors from elements for one signature. Does no I/O and may be pickled.

    Args:
        signature: The model's signature.
    """

    def __init__(self, signature: Signature):
        self._signature = signature
        names = list(signature.inputs)
        self._single = names[0] if len(names) == 1 else None

    def decode(self, elements: Sequence[Any]) -> DecodedChunk:
        """Decodes elements. Every row is then either in one segment, or has a failure (class ``FieldError``).

        Returns:
            A chunk without records. Its rows are the indexes of the elements.
        """
        return decoded_one_by_one(self._decode, elements)

    def _decode(self, elements: Sequence[Any]) -> DecodedChunk:
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
                raise FieldMismatch("the features can't be sent as JSON: a type that JSON lacks, or nested too deeply")
            return {UNKNOWN_INPUT: _scalar_object(document)}
        if not isinstance(element, Mapping):
            if self._single is None:
                inputs = ", ".join(f"{name}: {spec}" for name, spec in signature.inputs.items())
                raise FieldMismatch(f"expected a mapping of the inputs {inputs}; came {type(element).__name__}")
            element = {self._single: element}
        fields = {}
        for name, spec in signature.inputs.items():
            if name in element:
                fields[name] = cast_value(name, spec, element[name])
            elif not spec.has_default:
                came = ", ".join(str(key)[:40] for key in list(element)[:8]) or "none"
                raise FieldMismatch(f"{name}: missing; expected {_row(spec)}; features that came: {came}")
        if not fields:
            raise FieldMismatch(f"has none of the inputs ({', '.join(signature.inputs)})")
        return fields


def cast_value(name: str, spec: TensorSpec, value: Any) -> np.ndarray:
    """Returns one row of one input, without the batch dimension.

    Raises:
        FieldMismatch: The value does not fit; the message begins with the input's name.
    """
    array = _strings(name, value) if spec.dtype == "string" else _numbers(name, spec, value)
    dims = None if spec.shape is None else spec.shape[1:]
    if dims and array.shape == () and set(dims) == {1}:
        return array.reshape(dims)  # the bare value, as in JSON
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
    if array.dtype.name == "bfloat16":  # a dtype of ml_dtypes: NumPy shows only its name
        array = array.astype(np.float32)
    if array.dtype.kind not in _KINDS[wanted.kind]:
        raise FieldMismatch(f"{name}: expected {_row(spec)}, came {array.dtype.name}")
    with np.errstate(all="ignore"):  # values that the cast changes are found by comparing
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
        array[()] = value  # np.asarray would strip trailing zero bytes
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
    """Converts a value to JSON types, for servers without a signature. Other types stay, and are refused later."""
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
