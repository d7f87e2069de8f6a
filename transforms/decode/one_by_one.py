"""``decoded_one_by_one``: a chunk in which a record that our code raises on is a dead letter, and no other is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from transforms.internal_errors import internal_failure, one_by_one
from transforms.types import STAGE_DECODE, DecodedChunk, KafkaRecord, Segment

T = TypeVar("T")


def decoded_one_by_one(decode: Callable[[Any], DecodedChunk], elements: Sequence[T]) -> DecodedChunk:
    """Decodes all elements at once or, if that raises an unexpected exception, each alone.

    Args:
        decode: Decodes some of them, given as ``elements``. Its result for an element does not depend on the others.
        elements: Records or features.
    """

    def failed(element: T, error: Exception) -> DecodedChunk:
        records: list[KafkaRecord] = [element] if isinstance(element, KafkaRecord) else []
        return DecodedChunk(records, [], {0: internal_failure(STAGE_DECODE, error)})

    found = one_by_one(decode, elements, failed)
    return found[0] if len(found) == 1 else _joined(found)


def _joined(chunks: Sequence[DecodedChunk]) -> DecodedChunk:
    """Returns chunks of one row each as one chunk."""
    joined = DecodedChunk([], [], {})
    if any(chunk.documents is not None for chunk in chunks):
        joined.documents = [chunk.documents[0] if chunk.documents else None for chunk in chunks]
    if any(chunk.carried is not None for chunk in chunks):
        joined.carried = [chunk.carried[0] if chunk.carried else b"" for chunk in chunks]
    for row, chunk in enumerate(chunks):
        joined.records += chunk.records
        joined.segments += [Segment(segment.key, range(row, row + 1), segment.tensors) for segment in chunk.segments]
        if 0 in chunk.failures:
            joined.failures[row] = chunk.failures[0]
    return joined
