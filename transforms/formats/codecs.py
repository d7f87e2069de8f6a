"""The input formats: what each one is, which one fits a signature; and the JSON parser.

| format | a record's value is | fits |
|---|---|---|
| ``json`` | an object of the inputs by name; for a single-input model also the bare value | every signature but examples |
| ``bytes`` | the one string input as it is: an image, a text | a signature of one string input |
| ``tf_example`` | a serialized ``tf.Example`` | classify, regress, or one string input |
| ``avro`` | a datum, framed by a schema registry, bare or in a container file; then as ``json`` | as ``json`` |
| ``protobuf`` | a message, framed by a schema registry; then as ``json`` | as ``json`` |
| ``npy`` | one array, as ``numpy.save`` writes it | a signature of one input, of any dtype |

A value framed by a schema registry may be ``avro``, ``json`` or ``protobuf``: see ``transforms/formats/frame.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, ClassVar

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ContractError
from transforms.exact_json import dumps_exactly, finite, loads_exactly
from transforms.types import Signature, TensorSpec

AUTO = "auto"
JSON = "json"
BYTES = "bytes"
TF_EXAMPLE = "tf_example"
AVRO = "avro"
PROTOBUF = "protobuf"
NPY = "npy"
INPUT_FORMATS = (AUTO, JSON, BYTES, TF_EXAMPLE, AVRO, PROTOBUF, NPY)
DOCUMENTS = (JSON, AVRO, PROTOBUF)
"""The formats whose values have fields, which ``--features`` and ``--pass_through`` can refer to."""

UNKNOWN_INPUT = "instances"
"""Input name for a server that publishes no signature: the name of the list in TensorFlow Serving's REST row format."""


LONG_NUMBER = re.compile(rb"\d[\d.]{15}")
"""Sixteen digits and more: float64 keeps fifteen."""


class FormatError(ValueError):
    """A value is not of its format. The message says where it is wrong, and never holds bytes of the value.

    Attributes:
        dead_letter_class: The class of the record's dead letter; each subclass has its own.
    """

    dead_letter_class: ClassVar[DeadLetterClass]


class JsonError(FormatError):
    """A value is not JSON, or holds numbers or nesting beyond our limits."""

    dead_letter_class = DeadLetterClass.JSON_ERROR


def resolve_input_format(signature: Signature, asked: str, needs_fields: bool = False) -> str:
    """Returns the format of the records: ``asked``, or the one that the signature implies if ``asked`` is ``auto``.

    ``auto`` means ``tf_example`` if the signature takes examples; ``bytes`` if it has one string input with one element a
    row and no fields are needed; and ``json`` otherwise.

    Raises:
        ContractError: ``asked`` is unknown or can't fit the signature; the message names the flag and the cure.
    """
    if asked not in INPUT_FORMATS:
        raise ContractError(f"--input_format={asked}: unknown; use one of {', '.join(INPUT_FORMATS)}")
    flag = f"--input_format={asked}"
    if signature.takes_examples:
        if asked not in (AUTO, TF_EXAMPLE):
            raise ContractError(
                f"{flag}: signature '{signature.name}' ({signature.method}) takes serialized tf.Example records; "
                "use --input_format=tf_example, or choose a predict signature with ?signature=NAME in --model"
            )
        return TF_EXAMPLE
    if not signature.known:
        if asked in (TF_EXAMPLE, NPY):
            raise ContractError(f"{flag}: the server publishes no signature, so records go as JSON; use json, avro or bytes")
        return JSON if asked == AUTO else asked
    if not signature.inputs:
        raise ContractError(
            f"--model: signature '{signature.name}' takes no inputs, so nothing of a record would reach the model; "
            "choose another with ?signature=NAME in --model"
        )
    fits = takes_one_string(signature)
    if asked == AUTO:
        return BYTES if fits and not needs_fields else JSON
    if asked == NPY and len(signature.inputs) > 1:
        raise ContractError(
            f"{flag}: a record is one array, but '{signature.name}' takes {', '.join(signature.inputs)}; "
            "use --input_format=json or avro, or choose another signature with ?signature=NAME in --model"
        )
    if asked in (BYTES, TF_EXAMPLE) and not fits:
        inputs = ", ".join(f"{name}: {spec}" for name, spec in signature.inputs.items())
        own = "make these of the bytes with --preprocess=MODULE:FUNCTION, " if asked == BYTES else ""
        raise ContractError(
            f"{flag}: needs a signature of one string input with one element a row, but '{signature.name}' takes {inputs}; "
            f"use --input_format=json, {own}or choose another signature with ?signature=NAME in --model"
        )
    return asked


def resolve_preprocessed(signature: Signature, asked: str, needs_fields: bool = False) -> str:
    """As ``resolve_input_format``, where a function of the user's makes the inputs of the records: any format fits them.

    Raises:
        ContractError: ``asked`` is unknown, or a record of it is not given to functions.
    """
    if signature.takes_examples or asked in (TF_EXAMPLE, NPY):
        what = f"signature '{signature.name}' takes serialized tf.Example records" if asked == AUTO else f"not for {asked}"
        raise ContractError(
            f"--preprocess: {what}; its records are json, avro, protobuf or bytes (--input_format), "
            "and it makes the inputs of a predict signature (?signature=NAME in --model)"
        )
    resolved = resolve_input_format(signature, AUTO if asked == BYTES else asked, needs_fields)
    return BYTES if asked == BYTES else resolved


def takes_one_string(signature: Signature) -> bool:
    """Whether the signature's only input is one string a row, so that a record's value can be sent unchanged."""
    if len(signature.inputs) != 1:
        return False
    (spec,) = signature.inputs.values()
    return spec.dtype == "string" and all(size == 1 for size in row_shape(spec))


def row_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Returns the declared shape without the batch dimension; ``()`` for unknown rank and for scalars."""
    return (spec.shape or ())[1:]


def parse_json(value: bytes, loads: Callable[[bytes], Any] = loads_exactly) -> Any:
    """Parses JSON (RFC 8259) and, as TensorFlow Serving does, the literals ``NaN``, ``Infinity`` and ``-Infinity``.

    If a key occurs twice, the last value is used.

    Args:
        value: The JSON.
        loads: What reads it, unless it has such a literal. orjson's makes float64 of integers beyond 64 bits, which is
            quicker, and the same for values that are only cast to the dtype of an input.

    Raises:
        JsonError: The value is not JSON, is nested too deeply, or has a number beyond float64.
    """
    try:
        return loads(value)
    except (ValueError, RecursionError):
        pass  # orjson takes no NaN and no Infinity; json does
    try:
        return json.loads(value.decode(), parse_float=finite)
    except UnicodeDecodeError as error:
        raise JsonError(
            f"the value is not JSON: {_other_format(value) or f'not UTF-8 at byte {error.start}{_ANY_FORMAT}'}"
        ) from error
    except json.JSONDecodeError as error:
        what = error.msg.partition(":")[0]  # the text after the colon may quote the value
        where = f"{what} at line {error.lineno}, column {error.colno}"
        raise JsonError(f"the value is not JSON: {_other_format(value) or where}") from error
    except RecursionError as error:
        raise JsonError("the JSON value is nested too deeply") from error
    except ValueError as error:
        raise JsonError("the JSON value has a number beyond float64, or an integer of thousands of digits") from error


_ANY_FORMAT = f"; --input_format says what it is, if {AVRO}, {PROTOBUF}, {NPY}, {TF_EXAMPLE} or {BYTES}"

_BEGINNINGS = (
    (b"Obj\x01", "it is an Avro container file: --input_format=avro"),
    (b"\x93NUMPY", "it is a .npy file: --input_format=npy"),
    (b"\x89PNG\r\n\x1a\n", "it is an image: --input_format=bytes, for a model that takes bytes, or with --preprocess"),
    (b"\xff\xd8\xff", "it is an image: --input_format=bytes, for a model that takes bytes, or with --preprocess"),
    (b"\x1f\x8b", "it is compressed by gzip: --input_format=bytes with a --preprocess that decompresses it"),
)
"""How values of other formats begin, and the cure. Sources: Avro's and NumPy's specifications, PNG, JPEG and RFC 1952."""

_FRAME = re.compile(rb"\x00....(\s*[{\[])?.", re.DOTALL)
"""A schema registry's frame (``frame.py``), and perhaps JSON behind it."""


def _other_format(value: bytes) -> str:
    """Says what a value that is not JSON is instead, with the cure; empty if it does not tell."""
    if frame := _FRAME.match(value):
        framed = JSON if frame[1] else f"{AVRO} or {PROTOBUF}"
        number = int.from_bytes(value[1:5], "big")
        return (
            f"it begins with a schema registry's frame (0, then the schema's id {number}): "
            f"--schema_registry=URL with --input_format={framed}"
        )
    return next((what for beginning, what in _BEGINNINGS if value.startswith(beginning)), "")


def can_be_sent_on(document: Any) -> bool:
    """Whether orjson can serialize a document in a request: less than 250 levels, and no lone surrogates.

    ``parse_json`` accepts more. Such a record would fail the request for every record of its batch.
    """
    try:
        dumps_exactly([[[document]]])
    except TypeError:
        return False
    return True
