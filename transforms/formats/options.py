"""What a decoder is told beyond the name of a format: schemas, a registry, and where in a document things are."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class RegistryConfig:
    """How to reach a schema registry.

    Attributes:
        url: ``http://HOST:PORT``, several with commas between.
        properties: Properties of confluent-kafka's ``SchemaRegistryClient``; they may hold secrets.
    """

    url: str
    properties: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)


Paths = tuple[tuple[str, str], ...]
"""Names, each with a path into a document, such as ``("x", "$.a.b")``; see ``transforms.decode.field_paths``."""


@dataclasses.dataclass(frozen=True, slots=True)
class FormatOptions:
    """Arguments of the formats.

    Attributes:
        avro_schema: An Avro schema's JSON text: the records' own without a registry, the reader's with one.
        registry: Where framed records' schemas are.
        features: Input name to where in a document its value is; inputs not named are fields of their own name.
        pass_through: Output name to where in a document the value is that goes into the output.
    """

    avro_schema: str | None = None
    registry: RegistryConfig | None = None
    features: Paths = ()
    pass_through: Paths = ()
