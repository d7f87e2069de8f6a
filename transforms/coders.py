"""Coders of the chunks that travel between the stages.

Inside a fused stage nothing is encoded, but Beam's runners sample the size of elements. The default coder pickles the whole
chunk to measure it: 7% of a busy worker's time (py-spy). These coders pickle only where a chunk moves to another process.
"""

from __future__ import annotations

import pickle
from typing import Any

from apache_beam import coders
from apache_beam.coders import coder_impl

from transforms.types import DecodedChunk, KafkaRecord, OutputRecord, PredictedChunk

ASSUMED_BYTES = 65_536
"""The size in bytes that is reported to Beam for every chunk."""


class RecordChunk(list[KafkaRecord]):
    """A chunk of records as they were polled, each partition in the order of its offsets."""


class OutputChunk(list[OutputRecord]):
    """A chunk of records to write, in the order of the input."""


class ChunkCoder(coders.Coder):
    """Coder of chunks: pickles them, and estimates their size by a constant instead of by pickling."""

    def encode(self, chunk: object) -> bytes:
        """Pickles a chunk. Beam calls this outside of stages, for example in ``Create``."""
        return _dump(chunk)

    def decode(self, encoded: bytes) -> Any:
        """Unpickles a chunk; see ``encode``."""
        return pickle.loads(encoded)  # noqa: S301  # pickled by this job

    def _create_impl(self) -> coder_impl.CoderImpl:
        return coder_impl.CallbackCoderImpl(_dump, pickle.loads, lambda _, nested=False: ASSUMED_BYTES)

    def is_deterministic(self) -> bool:
        """Chunks are not usable as keys."""
        return False

    def to_type_hint(self) -> Any:
        """Any chunk."""
        return Any


def _dump(chunk: object) -> bytes:
    return pickle.dumps(chunk, protocol=5)


for _type in (RecordChunk, DecodedChunk, PredictedChunk, OutputChunk):
    coders.registry.register_coder(_type, ChunkCoder)
