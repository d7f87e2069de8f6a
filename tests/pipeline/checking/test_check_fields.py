"""Whose fields are looked at, and how: --features, --preprocess, Avro, a registry; and what the check proposes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition

from pipeline.checking import flags as check_flags
from pipeline.checking.command import check
from pipeline.cli.names import DEFAULT_GROUP
from tests.pipeline.checking.checking import Checking
from transforms.testing.schema_registry_stub import SchemaRegistryStub
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import TensorSpec

AB = {"a": TensorSpec("float32", (-1,)), "b": TensorSpec("int32", (-1,))}


@pytest.fixture(scope="module")
def two_inputs() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub(StubModel.of(AB, {"y": TensorSpec("float32", (-1,))}, lambda _: {})) as stub:
        yield stub


def test_it_proposes_the_features_that_would_fit(checking: Checking, two_inputs: TfServingGrpcStub) -> None:
    """With the whole command, unless something else is wrong, too; and never where records fit."""
    model = f"--model={two_inputs.uri()}"
    fits = "a=$.in.A,b=$.in.b|number"
    checking.produce(*[b'{"in":{"A":77123,"b":"2"}}'] * 3)
    out = io.StringIO()
    argv = checking.flags(model, "--sample=10", "--features=a=$.nowhere,b=$.no")
    assert check(check_flags.parse(argv, {}), out, argv) == 2
    lines = out.getvalue().splitlines()
    at = lines.index(f"features   '--features={fits}'")
    assert lines[at + 1].split("; ")[0].strip() == "3 of the 3 records read fit with it"
    assert lines[-1] == f"to run     python -m pipeline {' '.join(checking.flags(model))} '--features={fits}'"
    assert "77123" not in out.getvalue()
    proven = checking.flags(model, "--sample=10", f"--features={fits}")
    out = io.StringIO()
    assert check(check_flags.parse(proven, {}), out, proven) == 0
    assert "3 records read, 3 fit" in out.getvalue()
    assert "\nfeatures " not in out.getvalue()
    missing = [*argv, "--output_topic=ou"]
    out = io.StringIO()
    assert check(check_flags.parse(missing, {}), out, missing) == 2
    assert f"features   '--features={fits}'" in out.getvalue()
    assert "to run" not in out.getvalue(), "out may be meant"


def test_where_only_the_output_topic_is_missing_the_command_makes_it(checking: Checking, stub: TfServingGrpcStub) -> None:
    """With records that fit, with --features for those that do not, and without records; still with exit status 2."""
    for values, features in ((), ""), ((b'{"x":[1,2]}',), ""), ((b'{"X":[1,2]}',) * 9, " '--features=$.X'"):
        checking.produce(*values)
        argv = checking.flags(f"--model={stub.uri()}", "--sample=20", "--output_topic=quite.another")
        out = io.StringIO()
        assert check(check_flags.parse(argv, {}), out, argv) == 2
        command = out.getvalue().splitlines()[-1]
        assert command.startswith("to run     python -m pipeline --bootstrap_servers="), out.getvalue()
        assert " --output_topic=quite.another --create_topics " in command
        assert command.endswith(features)


def test_a_group_that_is_in_use_hides_nothing_else(checking: Checking, stub: TfServingGrpcStub) -> None:
    """It is told after the rest, and there is no command to run."""
    checking.produce(b'{"x":[1,2]}')
    with Consumer({"bootstrap.servers": checking.address, "group.id": DEFAULT_GROUP}) as other:
        other.commit(offsets=[TopicPartition("out", 0, 0)], asynchronous=False)
    argv = [*checking.flags(f"--model={stub.uri()}", "--sample=20"), f"--group_id={DEFAULT_GROUP}"]
    out = io.StringIO()
    assert check(check_flags.parse(argv, {}), out, argv) == 2
    assert "1 record read, 1 fit" in out.getvalue()
    assert "to run" not in out.getvalue()


def test_a_field_to_pass_through_that_no_record_has_is_told(checking: Checking, stub: TfServingGrpcStub) -> None:
    """It is null in each prediction. One that some record has is not told, nor what would be a dead letter."""
    checking.produce(b'{"x":[1,2],"id":1}', b'{"x":[1,2],"id":null,"some":2}', b'{"idd":1}')
    assert checking.run(f"--model={stub.uri()}", "--sample=20", "--pass_through=idd,some,of=$.id") == 0
    [line] = [line for line in checking.printed.splitlines() if line.startswith("passed on")]
    assert line == "passed on  idd: null in all 2 of the records read that fit: none has a value at $['idd']"
    assert checking.run(f"--model={stub.uri()}", "--sample=20", "--pass_through=id") == 0
    assert "passed on" not in checking.printed


def test_it_proposes_what_more_records_fit_with(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(b'{"x":[1,2]}', *[b'{"X":[1,2],"x":null}'] * 4)
    argv = checking.flags(f"--model={stub.uri()}", "--sample=10")
    out = io.StringIO()
    assert check(check_flags.parse(argv, {}), out, argv) == 0
    assert "5 records read, 1 fit" in out.getvalue()
    assert "features   '--features=$.X'" in out.getvalue()
    assert "4 of the 5 records read fit with it" in out.getvalue()
    assert out.getvalue().splitlines()[-1].endswith("'--features=$.X'")


def test_json_that_goes_to_the_model_as_text_is_told(checking: Checking) -> None:
    text = StubModel.of({"t": TensorSpec("string", (-1,))}, {"y": TensorSpec("float32", (-1,))}, lambda _: {})
    with TfServingGrpcStub(text) as other:
        checking.produce(b'{"t":"secret"}')
        assert checking.run(f"--model={other.uri()}", "--sample=10") == 0
    assert "records    read as bytes (--input_format=auto)" in checking.printed
    assert "features   each record is a JSON object and goes to the model whole, as text; if" in checking.printed
    assert "fields: '--features=$.t'\n" in checking.printed
    assert "secret" not in checking.printed


def test_an_image_in_json_is_run_by_its_field(checking: Checking) -> None:
    """The command to paste takes the image; the one for whole records stands below, as that is what was asked for."""
    image = StubModel.of({"i": TensorSpec("string", (-1,))}, {"y": TensorSpec("float32", (-1,))}, lambda _: {})
    with TfServingGrpcStub(image) as other:
        checking.produce(b'{"id":7,"photo":"iVBORw0KGgo%s"}' % (b"A" * 41))
        argv = checking.flags(f"--model={other.uri()}", "--sample=10")
        out = io.StringIO()
        assert check(check_flags.parse(argv, {}), out, argv) == 0
    field, between, whole = out.getvalue().splitlines()[-3:]
    assert field.startswith("to run     python -m pipeline --bootstrap_servers=")
    assert field.endswith(" '--features=$.photo|base64'")
    assert between.strip() == "or, with the whole record as it is:"
    assert whole.strip() == field.removeprefix("to run").strip().removesuffix(" '--features=$.photo|base64'")


def test_times_that_a_model_can_not_hold_are_told(checking: Checking) -> None:
    """They fit, as numbers may be rounded; that minutes are lost is said."""
    seen = StubModel.of({"at": TensorSpec("float32", (-1,))}, {"y": TensorSpec("float32", (-1,))}, lambda _: {})
    with TfServingGrpcStub(seen) as other:
        checking.produce(b'{"at":1790000000060}', b'{"at":1790000060123}')
        assert checking.run(f"--model={other.uri()}", "--sample=10") == 0
    assert " fits; float32 is exact up to 16,777,216 only, and moves these numbers by up to " in checking.printed


def test_every_guilty_field_is_named(checking: Checking) -> None:
    inputs = {"a": TensorSpec("float32", (-1,)), "b": TensorSpec("int32", (-1, 2)), "c": TensorSpec("string", (-1,))}
    with TfServingGrpcStub(StubModel.of(inputs, {"y": TensorSpec("float32", (-1,))}, lambda _: {})) as other:
        checking.produce(b'{"a":"1","b":[1.5,2],"c":"ok"}')
        assert checking.run(f"--model={other.uri()}", "--sample=1") == 2
    first, second = checking.errors.splitlines()
    assert first.endswith("in --features reads it (1 of 1)")
    assert "fits model: a: expected float32, came a string that holds a number; |number" in first
    assert second.endswith("fits model: b: b[0]: expected int32, came a number with a fraction (1 of 1)")
    assert "c " in checking.printed


def test_paths_count_as_in_the_run(checking: Checking, two_inputs: TfServingGrpcStub) -> None:
    checking.produce(b'{"in":{"a":1,"b":2},"id":7}', b'{"in":{"a":1,"b":2.5}}', b'{"in":{"a":"secret","b":2},"id":8}')
    paths = ("--features=a=$.in.a,b=$.in.b", "--pass_through=id")
    assert checking.run(f"--model={two_inputs.uri()}", "--sample=10", *paths) == 0
    assert "3 records read, 1 fit; 2 would be dead letters:" in checking.printed
    rows = [line for line in checking.printed.splitlines() if "$.in." in line]
    assert "$.in.a → a" in rows[0]
    assert "expected float32, came a string; |lookup(FILE)" in rows[0]
    assert rows[0].endswith("(1 of 3)")
    assert "$.in.b → b" in rows[1]
    assert "expected int32, came a number with a fraction (1 of 3)" in rows[1]
    assert "a  float32[1]" in checking.printed
    assert "secret" not in checking.printed
    assert checking.run(f"--model={two_inputs.uri()}", "--sample=10", "--features=a=$.none,b=$.in.b") == 2
    [line] = checking.errors.splitlines()
    assert "none of the 3 records read fits model: $.none → a: missing in 3 of 3; $.none: nothing at $.none" in line


def product(record: dict[str, Any]) -> dict[str, Any]:
    return {"a": record["in"]["a"] * 2, "b": record["in"]["b"]}


def test_a_function_of_the_user_s_counts_as_in_the_run(checking: Checking, two_inputs: TfServingGrpcStub) -> None:
    """Each field of what it returned is judged, and what it raises has a row of its own."""
    checking.produce(b'{"in":{"a":1,"b":2}}', b"{}", b'{"in":{"a":"x","b":2}}')
    own = f"--preprocess={__name__}:product"
    assert checking.run(f"--model={two_inputs.uri()}", "--sample=10", own) == 0
    assert "3 records read, 1 fit; 2 would be dead letters:" in checking.printed
    assert "1 PreprocessError, the first" in checking.printed
    rows = {line.split()[0]: line for line in reversed(checking.printed.splitlines()) if line}
    assert "a string (1)" in rows["a"]
    assert rows["a"].endswith("(1 of 2)")
    assert rows["b"].endswith(" fits in 2 of 3; the others fail before it")
    assert rows["(record)"].endswith("(1 of 3)")
    assert "missing" not in checking.printed
    assert checking.run(f"--model={two_inputs.uri()}", "--sample=10", "--features=a=$.none,b=$.nowhere") == 2
    assert "missing in 3 of 3; $.none: nothing at $.none" in checking.printed
    assert "missing in 3 of 3; $.nowhere: nothing at $.nowhere" in checking.printed


def test_avro_of_several_inputs(checking: Checking, two_inputs: TfServingGrpcStub, tmp_path: Path) -> None:
    fields = [{"name": "a", "type": "double"}, {"name": "b", "type": "int"}]
    schema = {"type": "record", "name": "Row", "fields": fields}
    (tmp_path / "row.avsc").write_text(json.dumps(schema))
    value = io.BytesIO()
    fastavro.schemaless_writer(value, fastavro.parse_schema(schema), {"a": 0.5, "b": 3})
    checking.produce(value.getvalue(), b"\xff")
    flags = ("--input_format=avro", f"--avro_schema={tmp_path / 'row.avsc'}", "--sample=5")
    assert checking.run(f"--model={two_inputs.uri()}", *flags) == 0
    assert "2 records read, 1 fit; 1 would be dead letters:" in checking.printed
    assert "1 AvroError, the first" in checking.printed
    assert "b  int32[1]" in checking.printed


def test_schemas_of_a_registry(checking: Checking, two_inputs: TfServingGrpcStub) -> None:
    """They are asked for as in the run; without the registry it says so, before anything is read."""
    pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")
    fields = [{"name": "a", "type": "float"}, {"name": "b", "type": "int"}]
    schema = {"type": "record", "name": "Row", "fields": fields}
    with SchemaRegistryStub() as registry:
        value = io.BytesIO()
        value.write(b"\0" + registry.add(json.dumps(schema)).to_bytes(4, "big"))
        fastavro.schemaless_writer(value, fastavro.parse_schema(schema), {"a": 0.5, "b": 3})
        checking.produce(value.getvalue())
        flags = ("--input_format=avro", f"--schema_registry={registry.url}", "--sample=5")
        assert checking.run(f"--model={two_inputs.uri()}", *flags) == 0
        assert "1 record read, 1 fit" in checking.printed
        registry.down()
        assert checking.run("--model=grpc://127.0.0.1:1/nobody", *flags) == 2
        model, missing = checking.errors.splitlines()
        assert model.startswith("error: --model=grpc://127.0.0.1:1/nobody: the model server can't be reached")
        assert missing.startswith(f"error: --schema_registry: the schema registry at {registry.url} does not answer")
