"""The flags of the formats: what fits together, each mistake with its cure, and secrets, which are never shown."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.pipeline.cli.parsing import OWN, mistake, mistakes, parse
from transforms.printable import one_line

needs_client = pytest.mark.skipif(
    importlib.util.find_spec("authlib") is None, reason="needs confluent-kafka[schemaregistry]"
)
SECRET = "hunter2-0123456789"
REGISTRY = "--schema_registry=http://127.0.0.1:1"


def test_paths(tmp_path: Path) -> None:
    config = parse(*OWN, "--features=x=$.a.b,y=$.c", "--features=z=$['p,q']", "--pass_through=id,when=$.meta.t")
    assert config.formats.features == (("x", "$.a.b"), ("y", "$.c"), ("z", "$['p,q']"))
    assert config.formats.pass_through == (("id", "$['id']"), ("when", "$.meta.t"))
    path = tmp_path / "config.yaml"
    path.write_text("features:\n  x: $.a.b\n  y: $.c\npass_through: [id, 'when=$.t']\n")
    config = parse(*OWN, f"--config={path}")
    assert config.formats.features == (("x", "$.a.b"), ("y", "$.c"))
    assert config.formats.pass_through == (("id", "$['id']"), ("when", "$.t"))


def test_an_avro_schema(tmp_path: Path) -> None:
    path = tmp_path / "schema.avsc"
    path.write_text('"string"')
    assert parse(*OWN, "--input_format=avro", f"--avro_schema={path}").formats.avro_schema == '"string"'
    assert "is for --input_format=avro, not json" in mistake("--input_format=json", f"--avro_schema={path}")
    assert "no such file" in mistake("--input_format=avro", f"--avro_schema={path}x")
    path.write_text('{"type": "record"}')
    assert f"--avro_schema={path}: the schema is not an Avro schema" in mistake(
        "--input_format=avro", f"--avro_schema={path}"
    )
    path.write_bytes(b"\xff")
    assert "UTF-8" in mistake("--input_format=avro", f"--avro_schema={path}")


def test_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Sum up: {{ text }}\n", encoding="utf-8")
    flag = f"--prompt={path}"
    assert parse(*OWN, flag).formats.prompt == "Sum up: {{ text }}\n"
    assert mistake(flag, "--features=$.text").startswith("--prompt: is the model's whole input")
    assert mistake(flag, "--input_format=npy").startswith("--prompt: records of --input_format=npy have no fields")
    parse(*OWN, flag, "--input_format=bytes", "--preprocess=json:loads")
    path.write_text("Sum up:\n{{ text|uper }}", encoding="utf-8")
    assert mistake(flag).startswith(f"{flag}: line 2: No filter named 'uper'.; there are abs, ")
    path.write_bytes(b"\xff")
    assert mistake(flag) == f"{flag}: is not UTF-8 text (byte 0); save it as UTF-8"
    assert mistake(f"{flag}x") == f"{flag}x: no such file"


def test_a_system_prompt(tmp_path: Path) -> None:
    path = tmp_path / "system.txt"
    path.write_text("\nBe brief.\n", encoding="utf-8")
    flag, chat = f"--system_prompt={path}", "--model=openai+http://h/v1/m?task="
    assert parse(*OWN[:3], f"{chat}chat", flag).system_prompt == "Be brief."
    for others in (f"{chat}completions", f"{chat}embeddings", "--model=grpc://h:1/m"):
        [only] = mistakes(*OWN[:3], others, flag)
        assert only.startswith("--system_prompt: is for --model=openai+http://…?task=chat")
    path.write_text(" \n", encoding="utf-8")
    assert mistakes(*OWN[:3], f"{chat}chat", flag) == [f"{flag}: is empty; write the text into it, or leave the flag out"]


def test_an_answer_schema(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text('{"type": "array"}', encoding="utf-8")
    flag, chat = f"--answer_schema={path}", "--model=openai+http://h/v1/m?task="
    assert mistakes(*OWN[:3], f"{chat}chat", flag)[0].startswith(f"{flag}: is no schema of an object with fields; give ")
    pytest.importorskip("fastjsonschema", reason="requirements.txt has it: make .venv/.installed")
    text = '{"type": "object", "properties": {"fraud": {"type": "boolean"}}}'
    path.write_text(text, encoding="utf-8")
    assert parse(*OWN[:3], f"{chat}chat", flag).answer_schema == text
    for others in (f"{chat}completions", f"{chat}embeddings", "--model=grpc://h:1/m"):
        [only] = mistakes(*OWN[:3], others, flag)
        assert only.startswith("--answer_schema: is for --model=openai+http://…?task=chat")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--features=x"], "--features=x: give NAME=PATH"),
        (["--features=x=a.b"], "--features=a.b: must begin with $"),
        (["--pass_through=$.a"], "--pass_through=$.a: give NAME=PATH"),
        (["--pass_through=a,a"], "--pass_through=a: is given twice"),
        (["--features=x=$.a", "--input_format=npy"], "--features: records of --input_format=npy have no fields"),
        (["--pass_through=a", "--input_format=bytes"], "--pass_through: records of --input_format=bytes have no fields"),
        (["--pass_through=a", "--output_mode=merge"], "--pass_through: --output_mode=merge writes the whole record already"),
        (["--output_mode=merge", "--input_format=avro"], "needs JSON records, but --input_format=avro"),
        ([REGISTRY], "say by --input_format=avro, protobuf or json"),
        (["--input_format=protobuf"], "--input_format=protobuf: needs --schema_registry"),
        ([REGISTRY, "--input_format=bytes"], "say by --input_format=avro, protobuf or json"),
        (["--schema_registry=127.0.0.1:8081", "--input_format=avro"], "give http://HOST:PORT"),
        (["--schema_registry=mock://x", "--input_format=avro"], "give http://HOST:PORT"),
        (["--schema_registry=http://h:x", "--input_format=avro"], "give http://HOST:PORT"),
        (["--schema_registry=http://a:1,ftp://b:2", "--input_format=avro"], "ftp://b:2: give http://HOST:PORT"),
        (["--schema_registry_config=timeout=1"], "--schema_registry_config: needs --schema_registry"),
        ([REGISTRY, "--input_format=json", "--schema_registry_config=timeout"], "--schema_registry_config: give NAME=VALUE"),
    ],
)
def test_mistakes(flags: list[str], says: str) -> None:
    assert says in mistake(*flags)


IMAGES = "the demo's records are images (PNG); name your own Kafka, topics and model"


@pytest.mark.parametrize("input_format", ["json", "avro", "npy", "tf_example"])
def test_the_embedded_broker_has_no_records_of_another_format(input_format: str) -> None:
    """Every one of them would be a dead letter."""
    assert mistakes(f"--input_format={input_format}") == [
        f"--input_format={input_format}: {IMAGES}, or use --input_format=bytes"
    ]
    assert parse(*OWN, f"--input_format={input_format}").input_format == input_format


@pytest.mark.parametrize(
    ("flag", "cure"),
    [("--output_mode=merge", ", or use --output_mode=prediction"), ("--features=x=$.a", ""), ("--pass_through=a", "")],
)
def test_the_embedded_brokers_records_have_no_fields(flag: str, cure: str) -> None:
    name = flag if cure else flag.partition("=")[0]
    assert mistakes(flag) == [f"{name}: {IMAGES}{cure}"]
    parse(*OWN, flag)


@pytest.mark.parametrize("flags", [[], ["--input_format=auto"], ["--input_format=bytes"]])
def test_formats_of_the_embedded_records(flags: list[str]) -> None:
    assert parse(*flags).demo


@needs_client
def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(*OWN, "--features=x", "--pass_through=$", "--avro_schema=/none", REGISTRY, "--top_k=0")
    assert len(found) == 7, found


@needs_client
def test_properties_of_the_client(tmp_path: Path) -> None:
    """On the command line, by the environment, from a file."""
    path = tmp_path / "registry.properties"
    path.write_text("# comment\nbasic.auth.user.info=${WHO}:${SECRET}\ntimeout=1\n")
    config = parse(
        *(*OWN, REGISTRY, "--input_format=avro"),
        *(f"--schema_registry_config_file={path}", "--schema_registry_config=timeout=2.5"),
        environ={"WHO": "me", "SECRET": SECRET},
    )
    assert config.formats.registry is not None
    assert dict(config.formats.registry.properties) == {"basic.auth.user.info": f"me:{SECRET}", "timeout": "2.5"}
    assert SECRET not in repr(config)
    found = mistake(REGISTRY, "--input_format=avro", f"--schema_registry_config=basic.auth.userinfo={SECRET}")
    assert "Unrecognized properties: basic.auth.userinfo" in found


@needs_client
def test_secrets_are_never_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "registry.properties"
    path.write_text(f"basic.auth.user.info {SECRET}\n")
    for flags in (
        [f"--schema_registry=http://me:{SECRET}@127.0.0.1:1", "--input_format=avro"],
        [f"--schema_registry=http://me:{SECRET}@127.0.0.1:x", "--input_format=avro"],
        [REGISTRY, "--input_format=avro", f"--schema_registry_config=basic.auth.user.info={SECRET}"],
        [REGISTRY, "--input_format=avro", f"--schema_registry_config=timeout={SECRET}"],
        [REGISTRY, "--input_format=avro", f"--schema_registry_config={SECRET}"],
        [REGISTRY, "--input_format=avro", f"--schema_registry_config_file={path}"],
        [f"--schema_registry_config=basic.auth.user.info={SECRET}"],
    ):
        assert SECRET not in mistake(*flags)


@needs_client
def test_predictions_by_a_schema() -> None:
    config = parse(*OWN, REGISTRY, "--output_format=avro", "--input_format=bytes", "--output_types=a=int,b=float[]")
    assert [(field.name, field.type, field.lists) for field in config.output_types] == [("a", "int", 0), ("b", "float", 1)]
    assert config.formats.frame_optional
    assert mistake("--output_format=avro").startswith("--output_format=avro: needs --schema_registry")
    assert mistake("--output_schema=require").startswith("--output_schema: is for --output_format=avro or protobuf")
    assert "--output_mode=merge" in mistake(
        REGISTRY, "--output_format=protobuf", "--output_mode=merge", "--input_format=json"
    )
    assert "needs --output_record_name" in mistake(REGISTRY, "--output_format=avro", "--output_subject=record")
    assert mistake(REGISTRY, "--output_format=avro", "--output_types=a=number").startswith(
        "--output_types=a=number: give NAME="
    )
    assert "say by --input_format" in mistake(REGISTRY, "--input_format=bytes")


@pytest.mark.parametrize("name", ["fraud-score", "1st", "a..b", ".a", "a.", "Fraud Score", "ü", "a\n"])
def test_a_record_name_that_is_none(name: str) -> None:
    """Avro's library took it, and others read the schema under another name, or not at all."""
    flags = (REGISTRY, "--output_format=avro", f"--output_record_name={name}")
    assert mistake(*flags).startswith(f"--output_record_name={one_line(name)}: is no name of a record: give words of a-z")


@pytest.mark.parametrize("name", ["Fraud", "com.example._Fraud2"])
def test_a_record_name(name: str) -> None:
    flags = (REGISTRY, "--output_format=avro", f"--output_record_name={name}")
    assert parse(*OWN, *flags).output_record_name == name
