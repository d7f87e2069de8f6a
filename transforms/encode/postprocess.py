"""``--postprocess``: the user's function of a prediction's fields, before it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import is_sick
from transforms.formats.codecs import LONG_NUMBER
from transforms.formats.json_columns import number_texts, value_text
from transforms.own_code import OwnCode, OwnFunction, text_of
from transforms.printable import shortened
from transforms.types import Failure


class Postprocess:
    """Calls the function with what would be written, and writes what it returns.

    Args:
        function: The function, or its name.

    Raises:
        ConfigError: There is no such function, or it can't be called.
    """

    def __init__(self, function: OwnFunction):
        self._function = OwnCode("postprocess", function, DeadLetterClass.POSTPROCESS_ERROR)

    def apply(self, texts: Sequence[bytes], failures: dict[int, Failure], attempts: int) -> list[bytes]:
        """Returns the JSON objects to write.

        Args:
            texts: A JSON object for each row. Those of rows with a failure are left as they are.
            failures: Gets a ``PostprocessError`` for each row that the function fails on.
            attempts: How many requests the rows were part of.
        """
        written = []
        for row, text in enumerate(texts):
            if row not in failures:
                made = self._one(text, attempts)
                if isinstance(made, Failure):
                    failures[row] = made
                else:
                    text = made
            written.append(text)
        return written

    def _one(self, text: bytes, attempts: int) -> bytes | Failure:
        try:
            fields = json.loads(text) if LONG_NUMBER.search(text) else orjson.loads(text)  # json: integers of any length
        except ValueError:  # an integer of thousands of digits, which --pass_through copies
            return self._function.failure("can't be called: a number has thousands of digits", attempts)
        made = self._function(fields, attempts)
        if isinstance(made, Failure):
            return made
        members = []
        for name, value in made.items():
            try:
                members.append(orjson.dumps(name) + b":" + _text(value))
            except Exception as error:  # a stranger's object, which may raise whatever it likes
                if is_sick(error):
                    raise
                reason = "it is nested too deeply" if isinstance(error, RecursionError) else text_of(error)
                return self._function.failure(
                    f"returned '{shortened(name)}', which can't be written as JSON: {reason}", attempts
                )
        return b"{" + b",".join(members) + b"}"


def _text(value: Any) -> bytes:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
        return number_texts(np.asarray(value)[np.newaxis])[0]  # with the digits of its dtype
    return value_text(value)
