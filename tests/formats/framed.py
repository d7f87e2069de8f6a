"""A decoder with its registry, and confluent-kafka's own serializer for the same: what the formats with a frame share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transforms.decode.decoder import Decoder
from transforms.formats.lookup import SchemaLookup
from transforms.formats.options import FormatOptions, RegistryConfig
from transforms.formats.registry import Registry
from transforms.guard import NoGuard
from transforms.retry import RetryPolicy
from transforms.types import DecodedChunk, KafkaRecord, Signature


class Framed:
    """Both ends of one registry.

    Args:
        url: The registry's.
        signature: The model's.
        input_format: ``avro`` or ``protobuf``.
        serializer: Makes confluent-kafka's, from its client of the registry.
        options: Further ``FormatOptions``.
    """

    def __init__(self, url: str, signature: Signature, input_format: str, serializer: Callable[[Any], Any], **options: Any):
        from confluent_kafka.schema_registry import SchemaRegistryClient
        from confluent_kafka.serialization import MessageField, SerializationContext

        config = RegistryConfig(url)
        registry = Registry(config, serialized=input_format == "protobuf")
        self.decoder = Decoder(signature, input_format, formats=FormatOptions(registry=config, **options))
        self.lookup = SchemaLookup(registry, NoGuard(), RetryPolicy(60))
        self._client = SchemaRegistryClient({"url": url})
        self._serializer = serializer(self._client)
        self._context: Callable[[], Any] = lambda: SerializationContext("topic", MessageField.VALUE, [])

    def serialize(self, row: Any) -> bytes:
        """As confluent-kafka frames it."""
        value: bytes = self._serializer(row, self._context())
        return value

    def record(self, row: Any) -> KafkaRecord:
        """As ``serialize``, with the headers that the serializer adds."""
        context = self._context()
        return KafkaRecord("t", 0, 0, 0, None, self._serializer(row, context), context.headers)

    def decode(self, chunk: list[KafkaRecord]) -> DecodedChunk:
        """As the pipeline does: the schemas first."""
        assert self.decoder.schemas is not None
        assert self.lookup.teach(self.decoder.schemas, chunk)
        return self.decoder.decode(chunk)

    def close(self) -> None:
        """Closes both clients."""
        self.lookup.close()
        self._client.close()
