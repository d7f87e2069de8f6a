"""What the tests of the formats share."""

from __future__ import annotations

from typing import Any

from transforms.decode.decoder import Decoder
from transforms.formats.options import FormatOptions
from transforms.types import METHOD_PREDICT, DecodedChunk, KafkaRecord, Signature, TensorSpec

FLOATS = TensorSpec("float32", (-1, 2))
X = Signature("serving_default", METHOD_PREDICT, {"x": FLOATS}, {"y": FLOATS})
UNKNOWN = Signature("", METHOD_PREDICT, {}, {}, known=False)


def takes(**inputs: TensorSpec) -> Signature:
    """A signature of these inputs."""
    return Signature("serving_default", METHOD_PREDICT, inputs, {"y": FLOATS})


def records(*values: bytes | None) -> list[KafkaRecord]:
    """One record a value."""
    return [KafkaRecord("t", 0, offset, 0, None, value, []) for offset, value in enumerate(values)]


def decode(signature: Signature, input_format: str, *values: bytes | None, **options: Any) -> DecodedChunk:
    """Decodes values by a new decoder."""
    return Decoder(signature, input_format, formats=FormatOptions(**options)).decode(records(*values))


def classes(chunk: DecodedChunk) -> dict[int, str]:
    """The error class of every row that failed; every row is in exactly one of segments and failures."""
    rows = sorted([row for segment in chunk.segments for row in segment.rows] + list(chunk.failures))
    assert rows == list(range(len(chunk.records)))
    return {row: failure.error_class for row, failure in chunk.failures.items()}


def rows_of(chunk: DecodedChunk, name: str = "x") -> dict[int, Any]:
    """The value of one input, by row."""
    return {
        row: value
        for segment in chunk.segments
        for row, value in zip(segment.rows, segment.tensors[name].tolist(), strict=True)
    }
