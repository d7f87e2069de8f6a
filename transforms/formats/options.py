"""Options of the formats: an Avro schema, the schema registry, and paths into documents."""

from __future__ import annotations

import dataclasses

from transforms.answer_body import MAX_ANSWER_BYTES
from transforms.formats.limits import MAX_RECORD_BYTES
from transforms.own_code import OwnFunction


@dataclasses.dataclass(frozen=True, slots=True)
class RegistryConfig:
    """How to reach a schema registry.

    Attributes:
        url: ``http://HOST:PORT``, several with commas between.
        properties: Properties of confluent-kafka's ``SchemaRegistryClient``; they may hold secrets.
        max_answer_bytes: Most bytes of one answer.
    """

    url: str
    properties: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    max_answer_bytes: int = MAX_ANSWER_BYTES


Paths = tuple[tuple[str, str], ...]
"""Pairs of a name and a path into a document, such as ``("x", "$.a.b")``; see ``transforms.formats.field_paths``."""


@dataclasses.dataclass(frozen=True, slots=True)
class FormatOptions:
    """Options of the formats.

    Attributes:
        avro_schema: An Avro schema's JSON text. Without a registry it is the records' schema, with one the reader's schema.
        registry: The schema registry of framed records.
        features: Input name to the source of its value (``transforms.formats.sources``). An input that is not named is the
            field of the same name.
        pass_through: Field name in the prediction to the path of its value in the record.
        max_record_bytes: The most memory in bytes that a record may take once it is decompressed and decoded.
        preprocess: The user's function of a record's fields, or its ``MODULE:FUNCTION``; before ``features`` are picked.
        prompt: The Jinja2 template of the model's one text, in place of ``features`` (``prompt.py``).
        frame_optional: Whether JSON may come without a frame: the registry is there for the output, too.
    """

    avro_schema: str | None = None
    registry: RegistryConfig | None = None
    features: Paths = ()
    pass_through: Paths = ()
    max_record_bytes: int = MAX_RECORD_BYTES
    preprocess: OwnFunction | None = None
    prompt: str | None = None
    frame_optional: bool = False
