"""JSON as model servers write it: with bare NaN, Infinity and -Infinity, and with strings that may not be UTF-8."""

from __future__ import annotations

import codecs
import json
from typing import Any

import numpy as np
import orjson

from transforms.errors import MalformedAnswerError
from transforms.exact_json import dumps_exactly, loads_exactly
from transforms.printable import counted


def loads(body: bytes, exact: bool = False) -> Any:
    """Parses a JSON body.

    Args:
        body: The body.
        exact: Keep the digits of integers beyond 64 bits, which else become floats. Where values stay JSON they are read so;
            not where arrays are made of them, which is what large answers are for.

    Raises:
        ValueError: It is not JSON, even if bare NaN and Infinity are allowed, or it is too deeply nested.
    """
    body = body.removeprefix(codecs.BOM_UTF8)  # .NET's servers write one, and a reader may ignore it (RFC 8259, 8.1)
    try:
        return loads_exactly(body) if exact else orjson.loads(body)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"))
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def read_answer(body: bytes, where: str, exact: bool = False) -> Any:
    """Parses the body of an answer.

    Args:
        body: The body.
        where: The model and its address, for the error.
        exact: As ``loads``.

    Raises:
        MalformedAnswerError: It is not JSON. The message does not quote it.
    """
    try:
        return loads(body, exact)
    except ValueError as error:
        raise MalformedAnswerError(f"{where}: the answer is no JSON ({counted(len(body), 'byte')})") from error


def text_bytes(text: str, what: str) -> bytes:
    """Returns the bytes of a text that ``loads`` has read: those that were no UTF-8 as they came.

    Args:
        text: The text.
        what: What it is, for the error.

    Raises:
        MalformedAnswerError: It has half of a surrogate pair, written as an escape: no bytes stand for it.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # its text quotes the answer
        raise MalformedAnswerError(f"{what} has half of a surrogate pair") from None


def dumps(document: Any) -> bytes:
    """Serializes a document. NaN and infinities are written bare, and integers with all digits.

    Args:
        document: Any JSON value; lists of numbers may be C-contiguous NumPy arrays.

    Raises:
        TypeError: A value has no JSON form.
    """
    body = dumps_exactly(document, orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes NaN and infinities as null. A body without null has none of them; the others are written again by json.
    return json.dumps(document, default=_plain).encode() if b"null" in body else body


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
