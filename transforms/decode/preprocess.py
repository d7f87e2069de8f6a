"""``--preprocess``: the user's function of a record's fields, between the parsed record and the model's inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.document_caster import Group
from transforms.decode.features import FeatureDecoder
from transforms.formats.casting import MAX_RANK
from transforms.own_code import OwnCode, OwnFunction
from transforms.types import DecodedChunk, Failure, Segment, Signature

VALUE = "value"
"""The only field of a record without fields: bytes, or JSON that is no object."""

_OF_JSON = frozenset((str, int, float, bool, bytes, type(None)))


def whole_value(value: bytes) -> dict[str, Any]:
    """Returns the fields of a record that is bytes: ``{"value": …}``."""
    return {VALUE: value}


class Preprocess:
    """Calls the function, and casts what it returns where that holds more than JSON does, such as NumPy arrays.

    Args:
        function: The function, or its name.
        signature: What the model takes.

    Raises:
        ConfigError: There is no such function, or it can't be called.
    """

    def __init__(self, function: OwnFunction, signature: Signature):
        self._function = OwnCode("preprocess", function, DeadLetterClass.PREPROCESS_ERROR)
        self._decoder = FeatureDecoder(signature)

    def apply(
        self, rows: Sequence[int], documents: Sequence[Any], failures: dict[int, Failure]
    ) -> tuple[list[int], list[dict[str, Any]]]:
        """Calls the function for each document.

        Args:
            rows: The row of each document in its chunk.
            documents: The parsed records. An object is copied, so that they stay as they are: ``merge`` needs that.
            failures: Gets a ``PreprocessError`` for each row that the function fails on.

        Returns:
            The other rows, and what the function has made of them.
        """
        kept, made = [], []
        for row, document in zip(rows, documents, strict=True):
            found = self._function(dict(document) if type(document) is dict else {VALUE: document})
            if isinstance(found, Failure):
                failures[row] = found
            else:
                kept.append(row)
                made.append(found)
        return kept, made

    def decode(self, elements: Sequence[Any]) -> DecodedChunk:
        """Calls the function for features in memory, and casts what it returns. As ``FeatureDecoder.decode``."""
        failures: dict[int, Failure] = {}
        fields = [dict(one) if isinstance(one, Mapping) else one for one in elements]
        rows, documents = self.apply(range(len(fields)), fields, failures)
        chunk = self._decoder.decode(documents)
        chunk.failures = failures | {rows[row]: failure for row, failure in chunk.failures.items()}
        chunk.segments = [Segment(it.key, [rows[row] for row in it.rows], it.tensors) for it in chunk.segments]
        return chunk

    def with_arrays(
        self, rows: Sequence[int], documents: list[dict[str, Any]], failures: dict[int, Failure]
    ) -> tuple[Sequence[int], list[dict[str, Any]], list[Group]]:
        """Casts the documents that hold more than JSON does.

        Args:
            rows: The row of each document in its chunk.
            documents: The documents.
            failures: Gets a ``FieldError`` for each row that does not fit.

        Returns:
            The rows and documents that are of JSON's types; and the others' rows with their tensors.
        """
        plain = [is_plain(document) for document in documents]
        if all(plain):
            return rows, documents, []
        others = [row for row, kept in zip(rows, plain, strict=True) if not kept]
        decoded = self._decoder.decode([one for one, kept in zip(documents, plain, strict=True) if not kept])
        failures |= {others[row]: failure for row, failure in decoded.failures.items()}
        groups: list[Group] = [
            ([others[row] for row in segment.rows], dict(segment.tensors)) for segment in decoded.segments
        ]
        return list(_only(rows, plain)), list(_only(documents, plain)), groups


def _only(items: Sequence[Any], kept: Sequence[bool]) -> Iterator[Any]:
    return (item for item, keep in zip(items, kept, strict=True) if keep)


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value has only types that the formats give; of one that is nested too deeply it is taken for granted."""
    kind = type(value)
    if kind in _OF_JSON or depth > MAX_RANK:
        return True
    if kind is dict:
        value = list(value.values())
    elif kind is not list:
        return False
    kinds = set(map(type, value))
    return kinds <= _OF_JSON or all(is_plain(part, depth + 1) for part in value)
