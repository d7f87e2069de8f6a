"""A Confluent-compatible schema registry, accessed by confluent-kafka's client. Translates the client's errors.

The client uses the published REST API (``GET /schemas/ids/{id}``, ``GET /subjects/{subject}/versions/{version}``), which
Apicurio, Karapace and Redpanda also serve.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import (
    CertificateError,
    ConfigError,
    MalformedAnswerError,
    NotServedError,
    TransientError,
    UnavailableError,
)
from transforms.formats.bounded_answers import bound_answers
from transforms.formats.codecs import FormatError
from transforms.formats.frame import MAX_ID, SchemaKey
from transforms.formats.options import RegistryConfig
from transforms.printable import one_line
from transforms.request_headers import value_problem
from transforms.secret_manager import resolve_all
from transforms.tls import OF_REGISTRY, with_tls_cure

TIMEOUT_S = 5
"""Time-out of one request in seconds. Without one the client would wait for ever."""

MAX_REFERENCES = 200
"""Most references of a schema, direct and indirect. More are taken for a circle, which a registry should never hold."""

_UNKNOWN = (40401, 40402, 40403)  # subject, version, schema: not found
_NO_SUCH_CALL = (404, 405, 501)
_NOT_SET = 404
_NUMBERS = ("timeout", "cache.capacity", "cache.latest.ttl.sec", "max.retries", "retries.wait.ms", "retries.max.wait.ms")
_MOST_REASON = 1500  # characters of the registry's own words
_T = TypeVar("_T")
INSTALL = "install it by: pip install 'confluent-kafka[schemaregistry]'"


class UnknownSchemaError(FormatError):
    """The registry has no schema of this id or GUID."""

    dead_letter_class = DeadLetterClass.UNKNOWN_SCHEMA


class IncompatibleSchemaError(Exception):
    """The registry does not take a schema. The message has its reason."""


@dataclasses.dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema with the schemas that it refers to.

    Attributes:
        kind: ``AVRO``, ``JSON`` or ``PROTOBUF``.
        text: The schema's text. For Protobuf, if requested so, the serialized file in base64.
        references: Reference name to schema text, direct and indirect. Each comes after the schemas that it refers to
            itself.
    """

    kind: str
    text: str
    references: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Registry:
    """A connection to a registry. Its calls block, at most ``TIMEOUT_S`` or the property ``timeout``.

    Args:
        config: The registry's address, and the client's properties such as credentials.
        serialized: Request Protobuf schemas in their serialized form.

    Raises:
        ConfigError: The client refuses the properties, or is not installed.
    """

    def __init__(self, config: RegistryConfig, serialized: bool = False):
        self._url, self._secure = config.url, config.url.lower().startswith("https:")
        self._format = "serialized" if serialized else None
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
        except ImportError as error:
            mistake = f"--schema_registry: confluent-kafka's schema-registry client is not complete ({error}); {INSTALL}"
            raise ConfigError([mistake]) from error
        self._refusal = SchemaRegistryError
        # No retries by the client: SchemaLookup retries, in short steps that keep the process in the consumer group.
        properties: dict[str, Any] = {"timeout": TIMEOUT_S, "max.retries": 0, **dict(resolve_all(config.properties))}
        for name, value in properties.items():  # most of them become headers
            if problem := value_problem(str(value)) or _not_ascii(name, str(value)):
                raise ConfigError([f"--schema_registry_config {name}: {problem}"])
        for name in _NUMBERS:
            try:
                properties.update({name: float(properties[name])} if name in properties else {})
            except ValueError:
                raise ConfigError([f"--schema_registry_config {name}: give a number"]) from None
        self._shows_identity = "ssl.certificate.location" in properties
        try:
            self._client = SchemaRegistryClient({**properties, "url": config.url})
        except Exception as error:  # ValueError, TypeError, ssl's and OSError, for properties of any kind
            raise ConfigError([f"--schema_registry_config: not accepted by the client: {_words(error)}"]) from error
        bound_answers(self._client, f"the schema registry at {self._url}", config.max_answer_bytes, properties["timeout"])

    def schema(self, key: SchemaKey) -> RegisteredSchema:
        """Returns the schema of an id or a GUID, with the schemas that it refers to.

        Raises:
            UnknownSchemaError: The registry has no such schema.
            NotServedError: The registry denies access (401, 403).
            TransientError: The registry fails, or the address belongs to another kind of server.
            UnavailableError: No server answers at the address.
            CertificateError: TLS failed.
        """
        if isinstance(key, int) and key > MAX_ID:
            raise UnknownSchemaError(f"schema {key} can't be in the registry: ids end at {MAX_ID}")
        try:
            if isinstance(key, int):
                schema = self._client.get_schema(key, fmt=self._format)
            else:
                schema = self._client.get_schema_by_guid(key, self._format)
            references: dict[str, str] = {}
            self._add_references(schema, references, [0])
        except Exception as error:  # noqa: BLE001  # httpx's or httpx2's, by the client's choice; no common base
            if isinstance(key, str) and isinstance(error, self._refusal) and error.http_status_code in _NO_SUCH_CALL:
                self._check_guids(error)
            self._translate(error, key)
        if not isinstance(schema.schema_str, str):
            raise TransientError(f"the schema registry at {self._url} answered without a schema")
        return RegisteredSchema(schema.schema_type or "AVRO", schema.schema_str, references)

    def latest(self, subject: str) -> tuple[int, RegisteredSchema] | None:
        """Returns the id and the schema of a subject's latest version; ``None`` if the subject has none.

        Raises:
            ModelError: As ``schema``.
        """
        try:
            found = self._client.get_latest_version(subject, self._format)
            references: dict[str, str] = {}
            self._add_references(found.schema, references, [0])
        except Exception as error:  # noqa: BLE001  # as in ``schema``
            if isinstance(error, self._refusal) and error.error_code in _UNKNOWN:
                return None
            self._translate(error, subject)
        if not isinstance(found.schema.schema_str, str) or not isinstance(found.schema_id, int):
            raise TransientError(f"the schema registry at {self._url} answered without a schema")
        return found.schema_id, RegisteredSchema(found.schema.schema_type or "AVRO", found.schema.schema_str, references)

    def register(self, subject: str, kind: str, text: str) -> int:
        """Registers a schema as the next version of a subject, unless it has it already; returns its id.

        Raises:
            IncompatibleSchemaError: The registry does not take it.
            ModelError: As ``schema``.
        """
        return self._offer(subject, lambda schema: int(self._client.register_schema(subject, schema)), kind, text)

    def takes(self, subject: str, kind: str, text: str) -> bool:
        """Asks whether a schema could be the next version of a subject, as ``register`` would judge. Registers nothing.

        Raises:
            IncompatibleSchemaError: The registry can't read it.
            ModelError: As ``schema``.
        """
        return self._offer(subject, lambda schema: self._compatible(subject, schema), kind, text)

    def _compatible(self, subject: str, schema: Any) -> bool:
        """Asks by the subject's own compatibility level: which versions count, and whether any does.

        Confluent's registry judges so itself when no version is named. Karapace and Redpanda have no such call, nor have
        older clients: there each version is named that the level asks about.
        """
        if (judge := getattr(self._client, "test_compatibility_all_versions", None)) is not None:
            try:
                return bool(judge(subject, schema))
            except self._refusal as error:
                if error.http_status_code not in _NO_SUCH_CALL or error.error_code in _UNKNOWN:
                    raise
        versions = self._client.get_versions(subject) if self._level(subject).endswith("_TRANSITIVE") else ("latest",)
        return all(self._client.test_compatibility(subject, schema, version) for version in versions)

    def _level(self, subject: str) -> str:
        try:
            return str(self._client.get_compatibility(subject))
        except self._refusal as error:
            if error.http_status_code != _NOT_SET:
                raise
        return str(self._client.get_compatibility())  # the subject has no level of its own

    def _offer(self, subject: str, offer: Callable[[Any], _T], kind: str, text: str) -> _T:
        from confluent_kafka.schema_registry import Schema

        try:
            return offer(Schema(text, kind))
        except Exception as error:  # as in ``schema``
            if isinstance(error, self._refusal):
                if error.http_status_code in (409, 422):
                    raise IncompatibleSchemaError(one_line(str(error.error_message))[:_MOST_REASON]) from error
                if error.http_status_code in (401, 403):
                    raise NotServedError(
                        f"the schema registry at {self._url} answered HTTP {error.http_status_code}: it does not let us "
                        f"write subject {subject}; give other credentials by --schema_registry_config, or let who may "
                        "register the schema, and take it by --output_schema=require"
                    ) from error
            self._translate(error, subject)

    def check(self) -> None:
        """Checks that a schema registry answers, by a request for a schema that need not exist.

        Raises:
            NotServedError: The registry denies access.
            TransientError: No server answers, or it is not a schema registry.
        """
        try:
            self.schema(1)
        except UnknownSchemaError:
            return  # only a registry answers so

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _check_guids(self, error: Any) -> None:
        """After a refused request for a GUID: raises ``UnknownSchemaError`` if it is a registry that has no such call.

        To wait for an older one would hold all records behind this one for ever.
        """
        if error.error_code not in _UNKNOWN:
            self.check()
            raise UnknownSchemaError(
                f"the schema registry at {self._url} answered HTTP {error.http_status_code}: it knows no schemas by GUID; "
                "let producers name them by id"
            ) from error

    def _add_references(self, schema: Any, references: dict[str, str], asked: list[int]) -> None:
        for reference in schema.references or ():
            if reference.name in references:
                continue  # several schemas refer to it: count and request it once
            asked[0] += 1
            if asked[0] > MAX_REFERENCES:
                raise UnknownSchemaError(f"its schema has more than {MAX_REFERENCES} references, or they go in a circle")
            # A schema may refer to a version that was deleted later.
            found = self._client.get_version(reference.subject, reference.version, True, self._format).schema
            self._add_references(found, references, asked)
            references[reference.name] = found.schema_str

    def _translate(self, error: Exception, key: SchemaKey) -> NoReturn:
        if isinstance(error, FormatError | UnavailableError):
            raise error
        if isinstance(error, MalformedAnswerError):  # too large, or compressed: perhaps it is not a registry at all
            raise TransientError(str(error)) from error
        where = f"the schema registry at {self._url}"
        if not isinstance(error, self._refusal):
            unreadable = isinstance(error, (ValueError, TypeError, AttributeError, KeyError))
            if unreadable:  # the client accesses the answer's fields without checking them
                raise TransientError(f"{where} gave an answer that can't be read: {type(error).__name__}") from error
            raise self._no_answer(where, _words(error)) from error
        if error.error_code in _UNKNOWN:
            raise UnknownSchemaError(f"{where} has no schema {key}, or lacks one that it refers to") from error
        status = f"{where} answered HTTP {error.http_status_code}"
        if error.http_status_code in (401, 403):
            raise NotServedError(f"{status}: give credentials by --schema_registry_config, as its operator says") from error
        raise TransientError(status) from error

    def _no_answer(self, where: str, words: str) -> UnavailableError:
        """Returns the error for a connection that failed."""
        if not self._secure:
            return UnavailableError(f"{where} does not answer: {words}")
        kind = UnavailableError if OF_REGISTRY.of(words) is None else CertificateError
        shown = with_tls_cure(words, OF_REGISTRY, shows_identity=self._shows_identity)
        return kind(f"{where} does not answer: {shown}")


def _not_ascii(name: str, value: str) -> str | None:
    return "has characters that are not ASCII" if name.startswith("bearer.") and not value.isascii() else None


def _words(error: Exception) -> str:
    return (str(error).partition("\n")[0] or type(error).__name__)[:200]
