"""A Confluent-compatible schema registry, through confluent-kafka's own client; its errors are translated here, once.

The client speaks the published REST API (``GET /schemas/ids/{id}``, ``GET /subjects/{subject}/versions/{version}``), which
Apicurio, Karapace and Redpanda serve, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NoReturn

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ConfigError, NotServedError, TransientError, UnavailableError
from transforms.formats.codecs import FormatError
from transforms.formats.frame import MAX_ID
from transforms.formats.options import RegistryConfig
from transforms.secret_manager import resolve_all

TIMEOUT_S = 5
"""Of one request; without one the client would wait for ever."""

MAX_REFERENCES = 200
"""A schema's references, and theirs: more are taken for a circle, which a registry should never hold."""

_UNKNOWN = (40401, 40402, 40403)  # subject, version, schema: not found
_NUMBERS = ("timeout", "cache.capacity", "cache.latest.ttl.sec", "max.retries", "retries.wait.ms", "retries.max.wait.ms")
INSTALL = "install it by: pip install 'confluent-kafka[schemaregistry]'"


class UnknownSchemaError(FormatError):
    """The registry has no schema of this id."""

    dead_letter_class = DeadLetterClass.UNKNOWN_SCHEMA


@dataclasses.dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as the registry has it.

    Attributes:
        kind: ``AVRO``, ``JSON`` or ``PROTOBUF``.
        text: Its text; of Protobuf, where that was asked for, the serialized file in base64.
        references: The schemas that it refers to, by the name that they are referred to by; each behind what it refers to.
    """

    kind: str
    text: str
    references: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Registry:
    """A connection to a registry. Blocking; ``TIMEOUT_S`` bounds each request unless the property ``timeout`` does.

    Args:
        config: Where it is, and as whom to ask.
        serialized: Ask for Protobuf files in their serialized form.

    Raises:
        ConfigError: The client takes no such properties, or is not installed.
    """

    def __init__(self, config: RegistryConfig, serialized: bool = False):
        self._url = config.url
        self._format = "serialized" if serialized else None
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
        except ImportError as error:
            mistake = f"--schema_registry: confluent-kafka's schema-registry client is not complete ({error}); {INSTALL}"
            raise ConfigError([mistake]) from error
        self._refusal = SchemaRegistryError
        # Whoever waits for the registry tries again, in short steps that keep the consumer group alive; not the client.
        properties: dict[str, Any] = {"timeout": TIMEOUT_S, "max.retries": 0, **dict(resolve_all(config.properties))}
        for name in _NUMBERS:
            try:
                properties.update({name: float(properties[name])} if name in properties else {})
            except ValueError:
                raise ConfigError([f"--schema_registry_config {name}: give a number"]) from None
        try:
            self._client = SchemaRegistryClient({**properties, "url": config.url})
        except Exception as error:  # ValueError, TypeError, ssl's and OSError, for properties of any kind
            raise ConfigError([f"--schema_registry_config: not accepted by the client: {_words(error)}"]) from error

    def schema(self, schema_id: int) -> RegisteredSchema:
        """Returns the schema of an id, with those that it refers to.

        Raises:
            UnknownSchemaError: The registry has none of that id.
            NotServedError: The registry refuses us (401, 403).
            TransientError: It fails, or something else answers in its place.
            UnavailableError: Nobody answers.
        """
        if schema_id > MAX_ID:
            raise UnknownSchemaError(f"schema {schema_id} can't be in the registry: ids end at {MAX_ID}")
        try:
            schema = self._client.get_schema(schema_id, fmt=self._format)
            references: dict[str, str] = {}
            self._add_references(schema, references, [0])
        except Exception as error:  # noqa: BLE001  # of httpx or httpx2, whichever the client found; they share no base
            self._translate(error, schema_id)
        if not isinstance(schema.schema_str, str):
            raise TransientError(f"the schema registry at {self._url} answered without a schema")
        return RegisteredSchema(schema.schema_type or "AVRO", schema.schema_str, references)

    def check(self) -> None:
        """Asks for a schema that may or may not exist.

        Raises:
            NotServedError: The registry refuses us.
            TransientError: Nobody answers, or no schema registry does.
        """
        try:
            self.schema(1)
        except UnknownSchemaError:
            return  # so it is a registry

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _add_references(self, schema: Any, references: dict[str, str], asked: list[int]) -> None:
        for reference in schema.references or ():
            if reference.name in references:
                continue  # as others refer to it, too: counted and asked for once
            asked[0] += 1
            if asked[0] > MAX_REFERENCES:
                raise UnknownSchemaError(f"its schema has more than {MAX_REFERENCES} references, or they go in a circle")
            # A version that was deleted since may still be referred to.
            found = self._client.get_version(reference.subject, reference.version, True, self._format).schema
            self._add_references(found, references, asked)
            references[reference.name] = found.schema_str

    def _translate(self, error: Exception, schema_id: int) -> NoReturn:
        if isinstance(error, FormatError):
            raise error
        where = f"the schema registry at {self._url}"
        if not isinstance(error, self._refusal):
            unreadable = isinstance(error, (ValueError, TypeError, AttributeError, KeyError))
            if unreadable:  # the client reads the answer's fields without looking
                raise TransientError(f"{where} gave an answer that can't be read: {type(error).__name__}") from error
            raise UnavailableError(f"{where} does not answer: {_words(error)}") from error
        if error.error_code in _UNKNOWN:
            raise UnknownSchemaError(f"{where} has no schema {schema_id}, or not what it refers to") from error
        status = f"{where} answered HTTP {error.http_status_code}"
        if error.http_status_code in (401, 403):
            raise NotServedError(f"{status}: give credentials by --schema_registry_config, as its operator says") from error
        raise TransientError(status) from error


def _words(error: Exception) -> str:
    return (str(error).partition("\n")[0] or type(error).__name__)[:200]
