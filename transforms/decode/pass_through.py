"""``--pass_through``: copies values of the input record into the JSON of its prediction.

Numbers keep their digits. The decoder's parser has 64-bit integers and float64: a record with a longer number is parsed
again, with its numbers as text.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from transforms.formats.casting import FieldMismatch
from transforms.formats.codecs import LONG_NUMBER
from transforms.formats.field_paths import FieldPath, NotFoundError
from transforms.formats.json_columns import value_text
from transforms.formats.options import Paths


class PassThrough:
    """Writes chosen values of a document as members of a JSON object.

    Numbers, strings, lists and objects are copied. Bytes are written as in the model's outputs: as a string, or as
    ``{"b64": …}`` if they are not UTF-8. A value that the document does not have is null, so that all predictions have the
    same fields.

    Args:
        paths: Output name to path.
    """

    def __init__(self, paths: Paths):
        self._members = [(name, orjson.dumps(name) + b":", FieldPath.parse(path)) for name, path in paths]

    def members(self, document: Any, json_text: bytes | None = None) -> bytes:
        """Returns ``"name":value,…``, without braces.

        Args:
            document: The parsed record.
            json_text: Its JSON, if it is JSON.

        Raises:
            FieldMismatch: A value has no JSON form.
        """
        texts = []
        if json_text is not None and LONG_NUMBER.search(json_text):
            document = json.loads(json_text, parse_int=_Number, parse_float=_Number, parse_constant=_named)
        for name, start, path in self._members:
            try:
                value = path.find(document)
                texts.append(start + (_exact(value) if type(value) in (_Number, dict, list) else value_text(value)))
            except NotFoundError:
                texts.append(start + b"null")
            except (TypeError, ValueError, RecursionError) as error:
                reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
                raise FieldMismatch(f"{name} ({path.text}): can't be passed through: {reason}") from error
        return b",".join(texts)


class _Number(str):
    """A number as the record has it."""


def _named(constant: str) -> str:
    """NaN and the infinities are written as the model's outputs are: as strings."""
    return constant


def _exact(value: Any) -> bytes:
    """As ``value_text``, with numbers as the record has them."""
    if type(value) is _Number:
        return value.encode()
    if type(value) is list and any(map(_has_number, value)):
        return b"[" + b",".join(map(_exact, value)) + b"]"
    if type(value) is dict and any(map(_has_number, value.values())):
        return b"{" + b",".join([value_text(key) + b":" + _exact(part) for key, part in value.items()]) + b"}"
    return value_text(value)


def _has_number(value: Any) -> bool:
    if type(value) is list:
        return any(map(_has_number, value))
    return any(map(_has_number, value.values())) if type(value) is dict else type(value) is _Number
