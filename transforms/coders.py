"""Coders of the chunks that travel between the stages.

Inside a fused stage nothing is encoded, but Beam's engines sample the size of elements, and the default coder pickles a
whole chunk to learn it (7% of a busy worker's time, seen by py-spy). These pickle only where a chunk crosses a process.
"""

from __future__ import annotations

import pickle
from typing import Any

from apache_beam import coders
from apache_beam.coders import coder_impl

from transforms.types import DecodedChunk, KafkaRecord, OutputRecord, PredictedChunk

ASSUMED_BYTES = 65_536
"""What a chunk is said to weigh, for Beam's metrics."""


class RecordChunk(list[KafkaRecord]):
    """Records as they were polled, in the order of every partition."""


class OutputChunk(list[OutputRecord]):
    """Records to write, in the order of the input."""


class ChunkCoder(coders.Coder):
    """Pickles; says a fixed size without doing so."""

    def encode(self, chunk: object) -> bytes:
        """Pickles; where Beam asks for bytes outside of a stage, as ``Create`` does."""
        return _dump(chunk)

    def decode(self, encoded: bytes) -> Any:
        """Unpickles; see ``encode``."""
        return pickle.loads(encoded)  # noqa: S301  # what this job has pickled

    def _create_impl(self) -> coder_impl.CoderImpl:
        return coder_impl.CallbackCoderImpl(_dump, pickle.loads, lambda _, nested=False: ASSUMED_BYTES)

    def is_deterministic(self) -> bool:
        """A chunk is nobody's key."""
        return False

    def to_type_hint(self) -> Any:
        """Any chunk."""
        return Any


def _dump(chunk: object) -> bytes:
    return pickle.dumps(chunk, protocol=5)


for _type in (RecordChunk, DecodedChunk, PredictedChunk, OutputChunk):
    coders.registry.register_coder(_type, ChunkCoder)
