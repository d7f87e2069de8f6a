"""``--pass_through``: copies values of the input record into the JSON of its prediction."""

from __future__ import annotations

from typing import Any

import orjson

from transforms.decode.field_paths import FieldPath, NotFoundError
from transforms.formats.casting import FieldMismatch
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

    def members(self, document: Any) -> bytes:
        """Returns ``"name":value,…``, without braces.

        Raises:
            FieldMismatch: A value has no JSON form.
        """
        texts = []
        for name, start, path in self._members:
            try:
                texts.append(start + value_text(path.find(document)))
            except NotFoundError:
                texts.append(start + b"null")
            except (TypeError, ValueError, RecursionError) as error:
                reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
                raise FieldMismatch(f"{name} ({path.text}): can't be passed through: {reason}") from error
        return b",".join(texts)
