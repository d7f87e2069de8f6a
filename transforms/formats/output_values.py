"""Values of a prediction, in the JSON form that they are written in, as values of Avro's and Protobuf's types.

The JSON form is that of ``json_columns.py``: bytes are ``{"b64": …}`` or text, NaN and the infinities their names. So a
field has the same value in every output format.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from decimal import Decimal
from typing import Any

import orjson

from transforms.exact_json import dumps_exactly
from transforms.formats.codecs import LONG_NUMBER, JsonError, parse_json
from transforms.json_kinds import json_kind

FLOAT32_MAX = 3.4028235677973366e38
"""The least number that is beyond float32, when rounded."""

_NAMED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class OutputMismatchError(ValueError):
    """A value does not fit the type of its field. The message says where and why, and never holds the value."""


class SymbolMismatchError(OutputMismatchError):
    """A string is not among those of an enum. Another one may be."""


def parse_prediction(text: bytes, exact: bool = False) -> dict[str, Any]:
    """Parses the JSON object of a prediction.

    Args:
        text: The object.
        exact: Keep all digits of long numbers, as ``Decimal``: the fields of ``--pass_through`` are the record's own.

    Raises:
        OutputMismatchError: It has a number beyond float64, or is nested too deeply.
    """
    try:
        if exact and LONG_NUMBER.search(text):
            found = json.loads(text, parse_float=Decimal, parse_int=_whole)
        else:
            found = parse_json(text)
    except (JsonError, ValueError, ArithmeticError, RecursionError) as error:  # Decimal has a largest exponent
        raise OutputMismatchError("it has a number beyond float64, or is nested too deeply") from error
    assert type(found) is dict
    return found


def _whole(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < 19 else Decimal(digits)


def as_bool(value: Any) -> bool:
    """A truth value."""
    if type(value) is not bool:
        raise OutputMismatchError(f"{json_kind(value)}, not true or false")
    return value


def as_whole(value: Any, least: int, most: int) -> int:
    """A whole number of a range; one that JSON has as 5.0, too."""
    if type(value) is not int:
        if type(value) not in (float, Decimal) or not math.isfinite(value) or value != int(value):
            raise OutputMismatchError(f"{json_kind(value)}, not a whole number")
        value = int(value)
    if not least <= value <= most:
        raise OutputMismatchError(f"beyond {least} to {most}")
    return int(value)


def as_float(value: Any, most: float = math.inf) -> float:
    """A number, or the name of NaN or an infinity; if it is finite, below ``most``."""
    if type(value) is float:
        number = value
    elif type(value) is int or type(value) is Decimal:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise OutputMismatchError("a number beyond float64")
    elif type(value) is str and value in _NAMED:
        return _NAMED[value]
    else:
        raise OutputMismatchError(f"{json_kind(value)}, not a number")
    if abs(number) >= most and math.isfinite(number):
        raise OutputMismatchError("a number beyond float32")
    return number


def as_text(value: Any) -> str:
    """A string as it is; any other value as its JSON text, with all digits."""
    if type(value) is Decimal:
        return str(value)
    try:
        if type(value) is not str:
            return dumps_exactly(value, default=_number).decode()
        value.encode()
    except UnicodeEncodeError as error:
        raise OutputMismatchError("a string with half a surrogate pair") from error
    except TypeError as error:
        raise OutputMismatchError("has half a surrogate pair, or is nested too deeply to be written as JSON") from error
    return value


def as_bytes(value: Any) -> bytes:
    """The bytes of a ``{"b64": …}``, or of a string in UTF-8."""
    if type(value) is str:
        return as_text(value).encode()
    if type(value) is dict and list(value) == ["b64"]:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise OutputMismatchError("a b64 object without valid base64") from None
    raise OutputMismatchError(f"{json_kind(value)}, not bytes")


def as_decimal(value: Any) -> Decimal:
    """A number with all its digits."""
    if type(value) is Decimal:
        return value
    if type(value) not in (int, float) or not math.isfinite(value):
        raise OutputMismatchError(f"{json_kind(value)}, not a number")
    return Decimal(repr(value))


def as_list(value: Any) -> list[Any]:
    """A list."""
    if type(value) is not list:
        raise OutputMismatchError(f"{json_kind(value)}, not a list")
    return value


def as_object(value: Any) -> dict[str, Any]:
    """An object."""
    if type(value) is not dict:
        raise OutputMismatchError(f"{json_kind(value)}, not an object")
    return value


def _number(value: Any) -> orjson.Fragment:
    if type(value) is Decimal:
        return orjson.Fragment(str(value).encode())
    raise TypeError
