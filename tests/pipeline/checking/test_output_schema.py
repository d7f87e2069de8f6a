"""The schema of predictions at the start: registered, required, refused with the registry's reason, its subject's name."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from pipeline.checking.output_schema import output_schema, subject_of
from pipeline.checking.waiting import StartWait
from tests.pipeline.cli.parsing import OWN, parse
from transforms.errors import ContractError, NotReadyError
from transforms.formats.output_fields import parse_types
from transforms.formats.output_schema import OutputSchema
from transforms.formats.protobuf_file import make_proto_file
from transforms.testing.schema_registry_stub import SchemaRegistryStub
from transforms.types import METHOD_PREDICT, ModelMetadata, Signature, TensorSpec

pytestmark = pytest.mark.skipif(importlib.util.find_spec("authlib") is None, reason="needs confluent-kafka[schemaregistry]")


@pytest.fixture
def registry() -> Iterator[SchemaRegistryStub]:
    with SchemaRegistryStub() as stub:
        yield stub


def model(**outputs: TensorSpec) -> ModelMetadata:
    return ModelMetadata("m", "1", Signature("s", METHOD_PREDICT, {}, outputs))


MODEL = model(score=TensorSpec("float32", (-1,)), boxes=TensorSpec("float64", (-1, -1, 4)))


def schema(registry: SchemaRegistryStub, *flags: str, model: ModelMetadata = MODEL, register: bool = True) -> OutputSchema:
    config = parse(*OWN, f"--schema_registry={registry.url}", *flags)
    found = output_schema(config, model, StartWait(0), register)
    assert found is not None
    return found


def refusal(registry: SchemaRegistryStub, *flags: str, model: ModelMetadata = MODEL) -> str:
    with pytest.raises(ContractError) as caught:
        schema(registry, *flags, model=model)
    assert not isinstance(caught.value, NotReadyError), "no waiting cures it"
    return str(caught.value)


def test_avro_is_registered_once(registry: SchemaRegistryStub) -> None:
    found = schema(registry, "--output_format=avro", "--pass_through=id", "--output_types=id=long")
    fields = [
        {"name": "id", "type": ["null", "long"], "default": None},
        {
            "name": "boxes",
            "default": None,
            "type": ["null", {"type": "array", "items": {"type": "array", "items": "double"}}],
        },
        {"name": "score", "type": ["null", "float"], "default": None},
    ]
    assert json.loads(found.text) == {"type": "record", "name": "Prediction", "namespace": "inference", "fields": fields}
    assert (found.number, found.exact, found.closed) == (1, True, False)
    assert schema(registry, "--output_format=avro", "--pass_through=id", "--output_types=id=long") == found


def test_protobuf_is_registered_as_its_source(registry: SchemaRegistryStub) -> None:
    found = schema(registry, "--output_format=protobuf")
    file = FileDescriptorProto.FromString(base64.b64decode(found.text))
    assert file.message_type[0].name == "Prediction"
    _, answer = registry.answer("GET", "/subjects/out-value/versions/latest", None, b"")
    assert answer["schemaType"] == "PROTOBUF"
    assert "  optional float score = 2;\n" in answer["schema"]
    assert "  repeated DoubleList boxes = 1;\n" in answer["schema"]


def test_a_check_registers_nothing(registry: SchemaRegistryStub) -> None:
    assert schema(registry, "--output_format=avro", register=False).number == 0
    assert registry.requests == ["/subjects/out-value/versions/latest"]
    registry.add('"string"', subject="out-value")
    assert schema(registry, "--output_format=avro", register=False).number == 0
    registry.incompatible = "too strange"
    with pytest.raises(ContractError, match="next version of subject out-value: it is not compatible with the versions"):
        schema(registry, "--output_format=avro", register=False)


@pytest.mark.parametrize("tests_all_versions", [True, False])
@pytest.mark.parametrize(
    ("levels", "clashes_with", "taken"),
    [
        ({None: "BACKWARD"}, 1, True),
        ({None: "BACKWARD"}, 2, False),
        ({None: "FULL_TRANSITIVE"}, 1, False),
        ({None: "BACKWARD", "out-value": "BACKWARD_TRANSITIVE"}, 1, False),
        ({None: "BACKWARD_TRANSITIVE", "out-value": "FORWARD"}, 1, True),
        ({None: "NONE"}, 2, True),
    ],
)
def test_a_check_judges_as_the_registration_would(
    registry: SchemaRegistryStub, levels: dict[str | None, str], clashes_with: int, taken: bool, tests_all_versions: bool
) -> None:
    """By the subject's own compatibility level; Karapace and Redpanda have to be asked version by version."""
    for version in ('"string"', '"bytes"'):
        registry.add(version, subject="out-value")
    registry.levels, registry.tests_all_versions = levels, tests_all_versions
    registry.incompatible, registry.incompatible_with = "it clashes", [clashes_with]
    for register in (False, True):
        if taken:
            assert schema(registry, "--output_format=avro", register=register).number == (3 if register else 0)
        else:
            with pytest.raises(ContractError, match="does not take the schema of the predictions as the next version"):
                schema(registry, "--output_format=avro", register=register)


def test_the_registrys_reason(registry: SchemaRegistryStub) -> None:
    registry.add('"string"', subject="out-value")
    registry.incompatible = "{errorType:'TYPE_MISMATCH'}"
    said = refusal(registry, "--output_format=avro")
    assert said.startswith(
        "--output_format=avro: the schema registry does not take the schema of the predictions as the next"
    )
    assert "version of subject out-value: {errorType:'TYPE_MISMATCH'}; leave out what changed" in said
    registry.status = 403
    assert "HTTP 403" in refusal(registry, "--output_format=avro")
    registry.status = None
    registry.down()
    with pytest.raises(NotReadyError, match=r"^--schema_registry: .* does not answer"):
        schema(registry, "--output_format=avro")


def test_who_may_read_may_not_write(registry: SchemaRegistryStub) -> None:
    registry.read_only = True
    said = refusal(registry, "--output_format=avro")
    assert "does not let us write subject out-value; give other credentials by --schema_registry_config" in said


@pytest.mark.parametrize(
    ("flags", "subject"),
    [
        ((), "out-value"),
        (("--output_record_name=com.example.Fraud",), "out-value"),
        (("--output_subject=record", "--output_record_name=com.example.Fraud"), "com.example.Fraud"),
        (("--output_subject=topic_record",), "out-inference.Prediction"),
        (("--output_subject=topic_record", "--output_record_name=com.example.Fraud"), "out-com.example.Fraud"),
    ],
)
def test_subjects_are_named_as_confluents_are(flags: tuple[str, ...], subject: str) -> None:
    """The names that confluent-kafka's own strategies give."""
    from confluent_kafka import schema_registry
    from confluent_kafka.serialization import MessageField, SerializationContext

    config = parse(*OWN, "--schema_registry=http://h:1", "--output_format=avro", *flags)
    assert subject_of(config) == subject
    strategy: Any = getattr(schema_registry, f"{config.output_subject}_subject_name_strategy")
    name = config.output_record_name or "inference.Prediction"
    assert strategy(SerializationContext("out", MessageField.VALUE), name) == subject


OWN_SCHEMA = (
    '{"type":"record","name":"Own","fields":[{"name":"score","type":%s},{"name":"boxes","type":["null",{"type":"array",'
)
OWN_SCHEMA += '"items":{"type":"array","items":"double"}}]},{"name":"id","type":"long","default":0}]}'


def test_a_schema_that_is_required(registry: SchemaRegistryStub) -> None:
    flags = ("--output_format=avro", "--output_schema=require")
    assert "the registry has no subject out-value" in refusal(registry, *flags)
    registry.add(OWN_SCHEMA % '"double"', subject="out-value")
    found = schema(registry, *flags, "--pass_through=id")
    assert (found.number, found.text) == (1, OWN_SCHEMA % '"double"')
    assert "has no field when; change it there" in refusal(registry, *flags, "--pass_through=when")
    assert "can't take every id (string) of a prediction" in refusal(
        registry, *flags, "--pass_through=id", "--output_types=id=string"
    )
    registry.add(OWN_SCHEMA % '"int"', subject="out-value")
    said = refusal(registry, *flags)
    assert said.startswith("--output_schema=require: the schema of subject out-value (id 2) can't take every score (float)")
    assert registry.requests[-1] == "/subjects/out-value/versions/latest"
    assert "has a schema of AVRO, not of protobuf" in refusal(
        registry, "--output_format=protobuf", "--output_schema=require"
    )
    assert "score" in refusal(registry, *flags, model=model(boxes=MODEL.signature.outputs["boxes"])), "it has no default"


def test_a_subject_of_somebody_elses(registry: SchemaRegistryStub) -> None:
    file = make_proto_file(parse_types(["a=int"]), "own.Message")
    file.message_type[0].field.add(name="at", number=9, type=11, label=1, type_name=".google.protobuf.Timestamp")
    registry.add(base64.b64encode(file.SerializeToString()).decode(), "PROTOBUF", subject="out-value")
    said = refusal(registry, "--output_format=protobuf")
    assert "subject out-value has a schema that was not made here" in said
    assert "--output_schema=require" in said


def test_types_that_are_not_known_are_asked_for(registry: SchemaRegistryStub) -> None:
    said = refusal(registry, "--output_format=avro", model=model(x=TensorSpec("float32", None)))
    assert said.endswith("say it by --output_types=x=TYPE, a list as TYPE[]")
    unknown = ModelMetadata("m", "1", Signature.unknown())
    assert "--output_types=NAME=TYPE,… or --signature=FILE" in refusal(registry, "--output_format=avro", model=unknown)
    found = schema(registry, "--output_format=avro", "--output_types=x=float", "--postprocess=builtins:dict", model=unknown)
    assert found.closed


def test_json_needs_none() -> None:
    assert output_schema(parse(*OWN), MODEL, StartWait(0)) is None
