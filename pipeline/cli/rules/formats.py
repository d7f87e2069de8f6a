"""Rules of the records' formats and the schema registry."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.cli.config import Config
from pipeline.cli.flag import Values
from pipeline.cli.names import AUTO, RECORD
from pipeline.cli.rules.demo import is_demo
from transforms.decode.prompting import BOTH
from transforms.errors import ConfigError, SecretError
from transforms.formats.codecs import AVRO, BYTES, DOCUMENTS, JSON, PROTOBUF
from transforms.formats.readers import FRAMED


def embedded_records(config: Config, values: Values) -> Iterator[str]:
    """The demo's records are images."""
    if is_demo(values):
        problem = "the demo's records are images (PNG); name your own Kafka, topics and model"
        if config.input_format not in (AUTO, BYTES):
            yield f"--input_format={config.input_format}: {problem}, or use --input_format=bytes"
        elif config.output_mode == "merge":
            yield f"--output_mode=merge: {problem}, or use --output_mode=prediction"
        elif config.output_format != JSON:
            yield f"--output_format={config.output_format}: the demo reads its predictions; use json"
        for name in ("features", "prompt", "pass_through"):
            if getattr(config, name) and config.input_format == AUTO:
                yield f"--{name}: {problem}"


def merged_records(config: Config, values: Values) -> Iterator[str]:
    """The prediction is put into the record's JSON."""
    if config.output_mode == "merge" and config.input_format not in (AUTO, JSON):
        cure = "; name the fields to keep by --pass_through" if config.input_format in FRAMED else ""
        yield f"--output_mode=merge: needs JSON records, but --input_format={config.input_format}{cure}"


def fields_of_records(config: Config, values: Values) -> Iterator[str]:
    """Paths lead into records that have fields."""
    if config.input_format in (*DOCUMENTS, AUTO):
        return
    for name in ("features", "prompt", "pass_through"):
        if getattr(config, name) and not (name != "pass_through" and config.preprocess):  # then of what the function returns
            yield f"--{name}: records of --input_format={config.input_format} have no fields; use json, avro or protobuf"


def preprocessed_records(config: Config, values: Values) -> Iterator[str]:
    """A function takes fields, or bytes."""
    if config.preprocess and config.input_format not in (*DOCUMENTS, BYTES, AUTO):
        yield f"--preprocess: is not for --input_format={config.input_format}; use json, avro, protobuf or bytes"


def prompt_or_features(config: Config, values: Values) -> Iterator[str]:
    """Both say what the model gets."""
    if config.prompt is not None and config.features:
        yield BOTH


def pass_through_or_merge(config: Config, values: Values) -> Iterator[str]:
    """Both keep fields of the record."""
    if config.pass_through and config.output_mode == "merge":
        yield "--pass_through: --output_mode=merge writes the whole record already; leave one of them out"


def avro_schema(config: Config, values: Values) -> Iterator[str]:
    """Only Avro is read by it."""
    if "avro_schema" in values.given and config.input_format != AVRO:
        yield f"--avro_schema: is for --input_format=avro, not {config.input_format}"


def schema_registry(config: Config, values: Values) -> Iterator[str]:
    """Which formats need a registry, and which have a use for one."""
    if "schema_registry" not in values.given:
        if config.input_format == PROTOBUF:
            yield "--input_format=protobuf: needs --schema_registry, by whose schemas the records are read"
        if config.schema_registry_config:
            yield "--schema_registry_config: needs --schema_registry"
    elif config.input_format not in DOCUMENTS and config.output_format == JSON:
        yield (
            "--schema_registry: say by --input_format=avro, protobuf or json what is framed; it is "
            f"{config.input_format} now"
        )


def written_by_schema(config: Config, values: Values) -> Iterator[str]:
    """What a schema of the output needs, and what is of no use without one."""
    flag = f"--output_format={config.output_format}"
    if config.output_format == JSON:
        for name in ("output_schema", "output_subject", "output_record_name", "output_types"):
            if name in values.given:
                yield f"--{name}: is for --output_format=avro or protobuf; predictions are JSON now"
        return
    if "schema_registry" not in values.given:
        yield f"{flag}: needs --schema_registry, which has the schema of the predictions"
    if config.output_mode == "merge":
        yield f"{flag}: --output_mode=merge writes the JSON of the record; use --pass_through for its fields"
    if config.output_subject == RECORD and config.output_record_name is None:
        yield "--output_subject=record: needs --output_record_name, or every job would have the same subject"


def schema_registry_properties(config: Config, values: Values) -> Iterator[str]:
    """The registry's client must accept its properties; no request is sent. JSON's frame is removed without a schema."""
    registry = config.formats.registry
    if registry is None or not {config.input_format, config.output_format}.intersection(FRAMED):
        return
    from transforms.formats.registry import Registry

    try:
        Registry(registry).close()
    except ConfigError as error:
        yield from error.mistakes
    except SecretError as error:
        yield f"--schema_registry_config: {error}"
