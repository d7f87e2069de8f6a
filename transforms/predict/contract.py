"""The contract while the job runs: whether the server still takes what it took before, and what changed if not."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from transforms.types import DecodedChunk, ModelMetadata, Signature, TensorSpec


class Verdict(enum.Enum):
    """What a look at the server says about a request that failed.

    Attributes:
        WORKS: It answers others: the failed request's rows may be at fault.
        DOWN: It answers nobody now.
        CHANGED: It refuses what it answered before, and its signature is another one.
        BROKEN: It refuses what it answered before, and nothing in its signature says why; or it no longer serves the model.
        UNPROVEN: It has answered nothing so far, and refuses a row of zeros, too.
    """

    WORKS = enum.auto()
    DOWN = enum.auto()
    CHANGED = enum.auto()
    BROKEN = enum.auto()
    UNPROVEN = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with its reason.

    Attributes:
        verdict: The verdict.
        reason: For people: what the server says, and how the signatures differ.
        metadata: The new metadata, if the signature changed.
    """

    verdict: Verdict
    reason: str = ""
    metadata: ModelMetadata | None = None


MakeDecoder = Callable[[Signature], "ChunkDecoder"]
"""Makes a decoder for another signature. Must be picklable. Raises ``ContractError`` if records can't fit it at all."""

WORKS = Finding(Verdict.WORKS)


class ChunkDecoder(Protocol):
    """Decodes records for one signature."""

    def decode(self, records: list[Any]) -> DecodedChunk | None:
        """Decodes the records of a chunk.

        Returns:
            The chunk; ``None`` if the bundle can no longer be committed.
        """

    def close(self) -> None:
        """Lets go of what it holds."""


class ContractChangedError(Exception):
    """The model has another signature: the records must be decoded again.

    Attributes:
        metadata: The model's metadata now.
        difference: How its signature differs from the one before.
    """

    def __init__(self, metadata: ModelMetadata, difference: str):
        super().__init__(difference)
        self.metadata, self.difference = metadata, difference


def difference(before: Signature, now: Signature) -> str:
    """Says how two signatures differ, such as ``input x is gone; input age: float32[?,1] is new``."""
    changes = [*_changes("input", before.inputs, now.inputs), *_changes("output", before.outputs, now.outputs)]
    if before.name != now.name:
        changes.append(f"signature {before.name} is now {now.name}")
    if before.method != now.method:
        changes.append(f"method {before.method} is now {now.method}")
    if before.known != now.known:
        changes.append("the signature is now published" if now.known else "the signature is no longer published")
    return "; ".join(changes) or "nothing that shows"


def _changes(kind: str, before: Mapping[str, TensorSpec], now: Mapping[str, TensorSpec]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        was, is_now = before.get(name), now.get(name)
        if is_now is None:
            yield f"{kind} {name} is gone"
        elif was is None:
            yield f"{kind} {name}: {is_now} is new"
        elif was != is_now:
            shown = f"{was} is now {is_now}"
            if was.has_default != is_now.has_default:
                shown += ", with a default value" if is_now.has_default else ", without a default value"
            yield f"{kind} {name}: {shown}"
