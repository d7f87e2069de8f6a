"""One wrong value is one mistake: what follows from the default in its place is told by no rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.cli.parsing import mistakes, parse

TOPICS = ("--bootstrap_servers=h:9092", "--input_topic=in", "--output_topic=out")
REGISTRY = "--schema_registry=http://h:8081"


def request_file(tmp_path: Path) -> str:
    path = tmp_path / "request.json"
    path.write_text('{"rows": {"$rows": "$row"}}')
    return f"--request={path}"


@pytest.mark.parametrize(
    "model",
    [
        "sagemaker://fraud",  # without its region
        "json+http://h:1/score?body=xml",
        "vertex://p/r",
        "json+http://h:x/score",
    ],
)
def test_a_wrong_model_says_nothing_of_what_its_requests_are(model: str, tmp_path: Path) -> None:
    """``--request: is for --model=json+http://…, sagemaker://…`` was told of a sagemaker:// that lacked its region."""
    flags = (f"--model={model}", request_file(tmp_path), "--response=$.answers")
    [told] = mistakes(*TOPICS, *flags)
    assert told.startswith(f"--model={model}: ")


@pytest.mark.parametrize(
    ("wrong", "depends_on_it"),
    [
        ("--model=openai+http://h:1/m?task=chatt", ("--token_limit=10/s",)),
        ("--model=openai+http://h:1/m", ("--token_limit=10/s",)),
        ("--input_format=avrro", ("--avro_schema={avro}",)),
        ("--input_format=protobuff", (REGISTRY,)),
        ("--output_format=avrro", (REGISTRY, "--output_subject=record", "--output_record_name=R")),
        ("--output_format=avrro", (REGISTRY, "--input_format=avro", "--output_types=a=int")),
        ("--kafka_io=java", ("--delivery=at_least_once", "--kafka_config=client.id=me")),
        ("--delivery=at_most_once", ("--kafka_io=beam", "--runner=PrismRunner")),
        ("--assignment=sticky", ("--kafka_config=group.protocol=consumer", "--workers=2")),
        ("--workers=two", ("--assignment=static",)),
        ("--output_mode=merg", ("--input_format=avro", REGISTRY)),
        ("--output_topic=a b", ("--dead_letter_topic=in2",)),
        ("--otlp_endpoint=h", ()),
    ],
)
def test_a_wrong_value_is_one_mistake(wrong: str, depends_on_it: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "schema.avsc"
    path.write_text('{"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}')
    more = [flag.format(avro=path) for flag in depends_on_it]
    [told] = mistakes(*TOPICS, "--model=grpc://h:1/m", *more, wrong)
    assert told.startswith(wrong.partition("=")[0])


def test_what_does_not_depend_on_it_is_told_all_the_same(tmp_path: Path) -> None:
    found = mistakes(*TOPICS, "--model=sagemaker://fraud", request_file(tmp_path), "--top_k=3", "--dead_letter_topic=in")
    assert [told.partition(":")[0].partition("=")[0] for told in found] == ["--model", "--dead_letter_topic", "--top_k"]


def test_a_file_of_properties_that_can_not_be_read_leaves_the_others_alone(tmp_path: Path) -> None:
    """The rest of the login may stand in it."""
    path = tmp_path / "kafka.properties"
    path.write_bytes(b"\xff")
    [told] = mistakes(
        *TOPICS, "--model=grpc://h:1/m", "--kafka_config=security.protocol=SASL_SSL", f"--kafka_config_file={path}"
    )
    assert told.startswith(f"--kafka_config_file={path}: ")


def test_right_values_are_as_they_were() -> None:
    config = parse(*TOPICS, "--model=grpc://h:1/m")
    assert (config.model, config.direct, config.dead_letter_topic) == ("grpc://h:1/m", True, "out.dead-letter")
