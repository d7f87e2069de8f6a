"""The schema that predictions are written by (``--output_format``): made of the model's outputs, or the registry's own.

It is registered, or looked up, once, by the process that starts the job: the workers get its id.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pipeline.checking.waiting import StartWait
from pipeline.cli.config import Config
from pipeline.cli.names import RECORD, RECORD_NAME, REQUIRE, TOPIC
from transforms.errors import CertificateError, ContractError, ModelError, NotReadyError, NotServedError
from transforms.formats.avro_schema import SchemaError
from transforms.formats.codecs import AVRO, JSON, PROTOBUF
from transforms.formats.output_fields import Field, prediction_fields
from transforms.formats.output_schema import OutputSchema, writer_of
from transforms.types import ModelMetadata

if TYPE_CHECKING:
    from transforms.formats.registry import RegisteredSchema, Registry

_T = TypeVar("_T")
_OTHERS = (
    "leave out what changed (--outputs, --pass_through), write to another --output_topic, or register a schema that fits "
    "and take it by --output_schema=require"
)


def subject_of(config: Config) -> str:
    """Returns the subject of the schema, by Confluent's strategies."""
    record = config.output_record_name or RECORD_NAME
    if config.output_subject == TOPIC:
        return f"{config.output_topic}-value"
    return record if config.output_subject == RECORD else f"{config.output_topic}-{record}"


def output_schema(config: Config, model: ModelMetadata, waiting: StartWait, register: bool = True) -> OutputSchema | None:
    """Returns the schema of the job's predictions; ``None`` for JSON.

    Args:
        config: The flags.
        model: The model, whose outputs it is made of.
        waiting: The wait of this start.
        register: Whether a schema that is made is registered; if not, the registry is asked whether it would take it, and
            the schema's id is 0.

    Raises:
        NotReadyError: The registry does not answer.
        ContractError: The registry does not take the schema, or predictions do not fit the one that it has.
    """
    if config.output_format == JSON or config.formats.registry is None:
        return None
    from transforms.formats.registry import Registry  # here: its client loads slowly

    with contextlib.closing(Registry(config.formats.registry, config.output_format == PROTOBUF)) as registry:
        if config.output_schema == REQUIRE:
            return _required(config, model, registry, waiting)
        return _made(config, _fields(config, model), registry, waiting, register)


def _fields(config: Config, model: ModelMetadata) -> tuple[Field, ...]:
    try:
        return prediction_fields(
            model.signature.outputs,
            config.labels is not None or config.top_k is not None,
            [name for name, _ in config.formats.pass_through],
            config.postprocess is not None,
            config.output_types,
        )
    except ValueError as error:
        raise ContractError(f"--output_format={config.output_format}: {error}") from error


def _made(config: Config, fields: tuple[Field, ...], registry: Registry, waiting: StartWait, register: bool) -> OutputSchema:
    from transforms.formats.registry import IncompatibleSchemaError

    subject = subject_of(config)
    before = _asked(waiting, lambda: registry.latest(subject))
    try:
        source, text = _source(config, fields, None if before is None else before[1])
    except SchemaError as error:
        raise ContractError(
            f"--output_format={config.output_format}: subject {subject} has a schema that was not made here ({error}); "
            "take it by --output_schema=require, or name another --output_subject or --output_record_name"
        ) from error
    kind, number = config.output_format.upper(), 0
    _checked(config, _schema(config, number, text))  # first: a schema that can't be used must not be registered
    try:
        if register:
            number = _asked(waiting, lambda: registry.register(subject, kind, source))
        elif before is not None and not _asked(waiting, lambda: registry.takes(subject, kind, source)):
            raise IncompatibleSchemaError("it is not compatible with the versions that the subject has")
    except IncompatibleSchemaError as error:
        raise ContractError(
            f"--output_format={config.output_format}: the schema registry does not take the schema of the predictions as "
            f"the next version of subject {subject}: {error}; {_OTHERS}"
        ) from error
    return _schema(config, number, text)


def _source(config: Config, fields: tuple[Field, ...], before: RegisteredSchema | None) -> tuple[str, str]:
    """Returns the schema as it is registered, and as the writer takes it."""
    name = config.output_record_name or RECORD_NAME
    if config.output_format == AVRO:
        from transforms.formats.avro_output import make_avro_schema

        made = make_avro_schema(fields, name)
        return made, made
    from transforms.formats.protobuf import read_file
    from transforms.formats.protobuf_file import make_proto_file, proto_text

    file = make_proto_file(fields, name, None if before is None else read_file(before.text))
    return proto_text(file), base64.b64encode(file.SerializeToString()).decode()


def _required(config: Config, model: ModelMetadata, registry: Registry, waiting: StartWait) -> OutputSchema:
    subject, flag = subject_of(config), f"--output_schema={REQUIRE}"
    latest = _asked(waiting, lambda: registry.latest(subject))
    if latest is None:
        raise ContractError(f"{flag}: the registry has no subject {subject}; register its schema, or leave the flag out")
    number, found = latest
    if found.kind != config.output_format.upper():
        raise ContractError(f"{flag}: subject {subject} has a schema of {found.kind}, not of {config.output_format}")
    schema = _schema(config, number, found.text, tuple(found.references.items()))
    _checked(config, schema)
    known = model.signature.outputs if config.postprocess is None else ()
    if known or config.output_types:
        fields = _fields(config, model)
        said = {field.name for field in config.output_types}
        unsure = [name for name, _ in config.formats.pass_through if name not in said]
        try:
            writer_of(schema).check(fields, unsure)
        except SchemaError as error:
            raise ContractError(
                f"{flag}: the schema of subject {subject} (id {number}) {error}; change it there, leave the field out "
                "(--outputs, --pass_through), or say by --output_types=NAME=TYPE which values it has"
            ) from error
    return schema


def _schema(config: Config, number: int, text: str, references: tuple[tuple[str, str], ...] = ()) -> OutputSchema:
    return OutputSchema(
        config.output_format,
        number,
        text,
        references,
        config.output_record_name,
        exact=bool(config.formats.pass_through),
        closed=config.postprocess is not None,
    )


def _checked(config: Config, schema: OutputSchema) -> OutputSchema:
    try:
        writer_of(schema)
    except SchemaError as error:
        raise ContractError(f"--output_format={config.output_format}: the schema of {subject_of(config)} {error}") from error
    return schema


def _asked(waiting: StartWait, ask: Callable[[], _T]) -> _T:
    def once(_: float) -> _T:
        try:
            return ask()
        except (CertificateError, NotServedError) as error:
            raise ContractError(f"--schema_registry: {error}") from error
        except ModelError as error:
            raise NotReadyError(f"--schema_registry: {error}") from error

    return waiting.until_there("the schema registry", once)
