"""Decode and Encode as Beam stages over chunks; the work is in ``decode.py`` and ``encode.py``, which know no Beam."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam

from transforms.coders import OutputChunk
from transforms.decode import Decoder
from transforms.encode import Encoder
from transforms.types import DecodedChunk, KafkaRecord, PredictedChunk, Signature


@dataclasses.dataclass(frozen=True, slots=True)
class DecodeConfig:
    """Arguments of ``Decoder``."""

    signature: Signature
    input_format: str = "auto"
    window_seconds: float | None = None
    keep_documents: bool = False

    def decoder(self) -> Decoder:
        """Makes the decoder.

        Raises:
            ContractError: The format and the signature do not fit.
        """
        return Decoder(self.signature, self.input_format, self.window_seconds, self.keep_documents)


@dataclasses.dataclass(frozen=True, slots=True)
class EncodeConfig:
    """Arguments of ``Encoder``."""

    output_topic: str
    dead_letter_topic: str
    model: str
    output_mode: str = "prediction"
    labels: tuple[str, ...] | None = None
    top_k: int | None = None
    signature: Signature | None = None
    max_value_bytes: int | None = None

    def encoder(self) -> Encoder:
        """Makes the encoder."""
        return Encoder(
            self.output_topic,
            self.dead_letter_topic,
            self.model,
            output_mode=self.output_mode,
            labels=self.labels,
            top_k=self.top_k,
            signature=self.signature,
            max_value_bytes=self.max_value_bytes,
        )


class DecodeChunks(beam.DoFn):
    """Records in, ``DecodedChunk`` out."""

    def __init__(self, config: DecodeConfig):
        self._config = config

    def setup(self) -> None:
        """Makes the decoder, once a worker."""
        self._decoder = self._config.decoder()

    def process(self, records: list[KafkaRecord]) -> Iterator[DecodedChunk]:
        """Decodes one chunk."""
        yield self._decoder.decode(records)


class EncodeChunks(beam.DoFn):
    """``PredictedChunk`` in, the records to write out: predictions and dead letters, in the order of the input."""

    def __init__(self, config: EncodeConfig):
        self._config = config

    def setup(self) -> None:
        """Makes the encoder, once a worker."""
        self._encoder = self._config.encoder()

    def process(self, chunk: PredictedChunk) -> Iterator[OutputChunk]:
        """Encodes one chunk."""
        yield OutputChunk(self._encoder.encode(chunk))
