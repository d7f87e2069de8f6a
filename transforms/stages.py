"""Decode and Encode as DoFns over chunks. The work itself is in ``decode/`` and ``encode/``, which do not import Beam."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import apache_beam as beam

from transforms.coders import OutputChunk
from transforms.decode.decoder import Decoder
from transforms.decode.readable import decode_readable
from transforms.encode.encoder import Encoder
from transforms.formats.codecs import PROTOBUF
from transforms.formats.lookup import SchemaLookup
from transforms.formats.options import FormatOptions
from transforms.formats.output_schema import OutputSchema
from transforms.formats.registry import Registry
from transforms.guard import BundleGuard, NoGuard
from transforms.observe import reporting_failures
from transforms.own_code import OwnFunction
from transforms.retry import RetryPolicy
from transforms.tracing import tracer
from transforms.types import DecodedChunk, KafkaRecord, PredictedChunk, Signature


@dataclasses.dataclass(frozen=True, slots=True)
class DecodeConfig:
    """Arguments of ``Decoder``, and what to do with a bundle while the schema registry is down.

    Attributes:
        retry: How long to retry a schema before ``on_unavailable`` applies.
        on_unavailable: ``hold``, ``dead_letter`` or ``fail``.
    """

    signature: Signature
    input_format: str = "auto"
    window_seconds: float | None = None
    keep_documents: bool = False
    formats: FormatOptions = dataclasses.field(default_factory=FormatOptions)
    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)
    on_unavailable: str = "hold"

    def decoder(self) -> Decoder:
        """Makes the decoder.

        Raises:
            ContractError: The format and the signature do not fit.
        """
        return Decoder(self.signature, self.input_format, self.window_seconds, self.keep_documents, self.formats)

    def lookup(self, decoder: Decoder, guard: BundleGuard) -> SchemaLookup | None:
        """Makes the lookup of the decoder's schemas; ``None`` where the records are not framed by a schema registry."""
        if decoder.schemas is None or self.formats.registry is None:
            return None
        registry = Registry(self.formats.registry, decoder.schemas.kind == PROTOBUF)
        return SchemaLookup(registry, guard, self.retry, self.on_unavailable)


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
    pass_through: tuple[str, ...] = ()
    framed: bool = False
    postprocess: OwnFunction | None = None
    schema: OutputSchema | None = None

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
            pass_through=self.pass_through,
            framed=self.framed,
            postprocess=self.postprocess,
            schema=self.schema,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class DecodeAgain:
    """Makes decoders for another signature than the job began with, for ``PredictChunks``.

    Attributes:
        config: How to decode the records.
        guard: Keeps the source alive while a bundle waits for the schema registry.
    """

    config: DecodeConfig
    guard: BundleGuard = dataclasses.field(default_factory=NoGuard)

    def __call__(self, signature: Signature) -> ChunkDecoder:
        """Makes the decoder.

        Raises:
            ContractError: The format and the signature do not fit.
        """
        return ChunkDecoder(dataclasses.replace(self.config, signature=signature), self.guard)


class ChunkDecoder:
    """A decoder, and the lookup of its schemas. Opens no connection before the first chunk.

    Args:
        config: How to decode the records.
        guard: Keeps the source alive while a bundle waits for the schema registry.
    """

    def __init__(self, config: DecodeConfig, guard: BundleGuard):
        self._decoder = config.decoder()
        self._lookup = config.lookup(self._decoder, guard)

    def decode(self, records: list[KafkaRecord]) -> DecodedChunk | None:
        """Waits for the schemas of one chunk, then decodes it; ``None`` if the bundle can no longer be committed."""
        began_ns = 0 if tracer() is None else time.time_ns()
        if self._lookup is not None and self._decoder.schemas is not None:
            with reporting_failures():
                if not self._lookup.teach(self._decoder.schemas, records):
                    return None
        decoded = decode_readable(self._decoder, records)
        decoded.began_ns = began_ns
        return decoded

    def close(self) -> None:
        """Closes the connection to the registry. May be called twice."""
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None


class DecodeChunks(beam.DoFn):
    """Records in, ``DecodedChunk`` out. Emits nothing of a bundle that can't be committed any more.

    Args:
        config: How to decode the records.
        guard: Keeps the source alive while a bundle waits for the schema registry.
    """

    def __init__(self, config: DecodeConfig, guard: BundleGuard | None = None):
        self._config = config
        self._guard: BundleGuard = guard or NoGuard()
        self._decoder: ChunkDecoder | None = None
        self._void = False

    def setup(self) -> None:
        """Makes the decoder, once for each worker. Opens no connection."""
        self._decoder = ChunkDecoder(self._config, self._guard)

    def start_bundle(self) -> None:
        """Resets the state, also after a bundle that failed."""
        self._void = False

    def process(self, records: list[KafkaRecord]) -> Iterator[DecodedChunk]:
        """Waits for the schemas of one chunk, then decodes it."""
        assert self._decoder is not None
        if self._void:
            return
        decoded = self._decoder.decode(records)
        if decoded is None:
            self._void = True
        else:
            yield decoded

    def teardown(self) -> None:
        """Closes the connection to the registry."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None


class EncodeChunks(beam.DoFn):
    """``PredictedChunk`` in, ``OutputChunk`` out: predictions and dead letters, in the order of the input."""

    def __init__(self, config: EncodeConfig):
        self._config = config

    def setup(self) -> None:
        """Makes the encoder, once for each worker."""
        self._encoder = self._config.encoder()

    def process(self, chunk: PredictedChunk) -> Iterator[OutputChunk]:
        """Encodes one chunk."""
        written, tracing = self._encoder.encode(chunk), tracer()
        yield OutputChunk(written if tracing is None else tracing.records(chunk, written))
