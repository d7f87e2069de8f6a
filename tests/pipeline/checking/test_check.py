"""``python -m pipeline.check`` against stub servers and the embedded broker: what it prints, its exit status, no traces."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipeline.checking import flags as check_flags
from pipeline.checking.command import check
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.digits import MODEL_DIR, load_digits
from tests import topics
from tests.pipeline.cli.parsing import OWN
from transforms.errors import ConfigError
from transforms.testing.multi_model_server.stub import TorchServeStub
from transforms.testing.schema_registry_stub import SchemaRegistryStub
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.types import TensorSpec

ROOT = Path(__file__).parents[3]
GOOD = [b'{"x":[1,2]}', b'{"x":[3.5,4]}']


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"out": 1}) as broker:
        yield broker


@pytest.fixture(scope="module")
def stub() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub() as stub:
        yield stub


class Checking:
    """Runs checks of one topic.

    Attributes:
        code: The exit status of the latest.
        printed: What it printed.
        errors: What it said to standard error.
    """

    def __init__(self, broker: EmbeddedBroker, topic: str, capsys: pytest.CaptureFixture[str]):
        self.address, self.topic, self._capsys = broker.address, topic, capsys

    def produce(self, *values: bytes | None) -> None:
        topics.produce(self.address, self.topic, values)

    def flags(self, *more: str) -> list[str]:
        return [
            f"--bootstrap_servers={self.address}",
            f"--input_topic={self.topic}",
            "--output_topic=out",
            f"--group_id=group-{self.topic}",
            *more,
        ]

    def run(self, *more: str) -> int:
        out = io.StringIO()
        self.code = check(check_flags.parse(self.flags(*more), {}), out)
        self.printed, self.errors = out.getvalue(), self._capsys.readouterr().err
        return self.code


@pytest.fixture
def checking(broker: EmbeddedBroker, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Checking:
    topic = request.node.name.replace("[", ".").replace("]", "")[:60]
    broker.create_topic(topic, 2)
    return Checking(broker, topic, capsys)


def test_without_a_sample_the_model_and_the_flags_are_checked(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(*GOOD)
    assert checking.run(f"--model={stub.uri()}") == 0
    lines = checking.printed.splitlines()
    assert lines[0] == f"model      model version 1 ({stub.uri()})"
    assert "gives y: float32[?,?]" in checking.printed
    assert (
        f"{checking.topic}: 2 partitions, 2 offsets, of which group group-{checking.topic} would read 2" in checking.printed
    )
    assert "x              float32  [?]" in lines
    assert "at most 64 rows a request (--batch_max_size):" in checking.printed
    assert "x  float32[64,?]" in checking.printed
    assert checking.errors == ""


def test_which_outputs_have_one_value_a_row(checking: Checking) -> None:
    """Declared or not, each with its shape; of those that --outputs names only."""
    shapes = {"a": (-1, 3), "b": (2,), "c": (), "d": None}
    specs = {name: TensorSpec("float32", shape) for name, shape in shapes.items()}
    with TfServingGrpcStub(StubModel.of({"x": TensorSpec("float32", (-1,))}, specs, lambda _: {})) as other:
        assert checking.run(f"--model={other.uri()}") == 0
        for line in (
            "gives a: float32[?,3], one value a row (declared)",
            "gives b: float32[2], one value for the whole request (declared), repeated for each row",
            "gives c: float32[], one value for the whole request (declared), repeated for each row",
            "gives d: float32[?], shape not declared: answers to requests of different sizes show",
        ):
            assert line in checking.printed
        assert checking.run(f"--model={other.uri()}", "--outputs=a,d") == 0
        assert [line.split()[1] for line in checking.printed.splitlines() if " gives " in line] == ["a:", "d:"]
        assert checking.run(f"--model={other.uri()}", "--outputs=a,z") == 2
        assert "--outputs=z: the model has no such output; it has a, b, c, d" in checking.errors
    with TorchServeStub() as torch_serve:
        assert checking.run(f"--model={torch_serve.uri()}", "--outputs=y") == 0
        assert "its outputs are not declared (--outputs=y): the first answers show them" in checking.printed


def test_a_sample_that_fits(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(*GOOD * 3)
    before = stub.faults.requests
    assert checking.run(f"--model={stub.uri()}", "--sample=10", "--batch_max_size=4") == 0
    assert "x              float32  [?]    a list of 2  fits" in checking.printed
    assert "6 records read, 6 fit" in checking.printed
    assert f"request    gRPC /tensorflow.serving.PredictionService/Predict to {stub.address}" in checking.printed
    assert "at most 4 rows a request (--batch_max_size); of the records read, 4:" in checking.printed
    assert "x  float32[4,2]  32 bytes" in checking.printed
    assert stub.faults.requests == before, "nothing was predicted"


def test_it_leaves_no_trace(checking: Checking, stub: TfServingGrpcStub) -> None:
    """No offsets, no dead-letter topic, also with --start_from, which a run would commit."""
    checking.produce(*GOOD)
    for start in ("committed", "earliest", "latest", "2020-01-01"):
        assert checking.run(f"--model={stub.uri()}", "--sample=2", f"--start_from={start}", "--dead_letter_topic=dlq") == 0
        assert "2 records read, 2 fit" in checking.printed
        assert "dead letters to dlq (a run would make it)" in checking.printed
    assert topics.committed_offsets(checking.address, f"group-{checking.topic}", checking.topic) == {}


def test_some_dead_letters_among_records_that_fit_are_told(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(*GOOD, None, b"{", b'{"x":"secret"}', b'{"y":[1]}', b'{"x":"secret"}')
    assert checking.run(f"--model={stub.uri()}", "--sample=100") == 0
    assert "7 records read, 2 fit; 5 would be dead letters:" in checking.printed
    assert "3 FieldError, the first" in checking.printed
    assert "1 Tombstone, the first" in checking.printed
    assert "1 JsonError, the first" in checking.printed
    assert "secret" not in checking.printed


def test_records_that_do_not_fit_name_the_field(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(b'{"X":[1,2]}', b'{"X":[3]}')
    assert checking.run(f"--model={stub.uri()}", "--sample=10") == 2
    [line] = checking.errors.splitlines()
    assert line == (
        f"error: --input_topic={checking.topic}: none of the 2 records read fits model: "
        "x: missing in 2 of 2; did you mean 'X'?"
    )
    assert "request" not in checking.printed


def test_it_proposes_the_features_that_would_fit(checking: Checking, two_inputs: TfServingGrpcStub) -> None:
    """With the whole command, unless something else is wrong, too; and never where records fit."""
    model = f"--model={two_inputs.uri()}"
    fits = "a=$.in.A,b=$.in.b|number"
    checking.produce(*[b'{"in":{"A":77123,"b":"2"}}'] * 3)
    out = io.StringIO()
    argv = checking.flags(model, "--sample=10", "--features=a=$.nowhere,b=$.no")
    assert check(check_flags.parse(argv, {}), out, argv) == 2
    lines = out.getvalue().splitlines()
    at = lines.index(f"features   --features={fits}")
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
    assert f"features   --features={fits}" in out.getvalue()
    assert "to run" not in out.getvalue()


def test_it_proposes_what_more_records_fit_with(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(b'{"x":[1,2]}', *[b'{"X":[1,2],"x":null}'] * 4)
    argv = checking.flags(f"--model={stub.uri()}", "--sample=10")
    out = io.StringIO()
    assert check(check_flags.parse(argv, {}), out, argv) == 0
    assert "5 records read, 1 fit" in out.getvalue()
    assert "features   --features=$.X" in out.getvalue()
    assert "4 of the 5 records read fit with it" in out.getvalue()
    assert out.getvalue().splitlines()[-1].endswith("'--features=$.X'")


def test_json_that_goes_to_the_model_as_text_is_told(checking: Checking) -> None:
    text = StubModel.of({"t": TensorSpec("string", (-1,))}, {"y": TensorSpec("float32", (-1,))}, lambda _: {})
    with TfServingGrpcStub(text) as other:
        checking.produce(b'{"t":"secret"}')
        assert checking.run(f"--model={other.uri()}", "--sample=10") == 0
    assert "records    read as bytes (--input_format=auto)" in checking.printed
    assert "features   each record is a JSON object and goes to the model whole, as text; if" in checking.printed
    assert "fields: --features=$.t\n" in checking.printed
    assert "secret" not in checking.printed


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


AB = {"a": TensorSpec("float32", (-1,)), "b": TensorSpec("int32", (-1,))}


@pytest.fixture(scope="module")
def two_inputs() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub(StubModel.of(AB, {"y": TensorSpec("float32", (-1,))}, lambda _: {})) as stub:
        yield stub


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
        assert "1 records read, 1 fit" in checking.printed
        registry.down()
        assert checking.run("--model=grpc://127.0.0.1:1/nobody", *flags) == 2
        model, missing = checking.errors.splitlines()
        assert model.startswith("error: --model=grpc://127.0.0.1:1/nobody: the model server can't be reached")
        assert missing.startswith(f"error: --schema_registry: the schema registry at {registry.url} does not answer")


def test_values_are_shown_only_if_asked_for(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(b'{"x":[77123],"name":"secret"}')
    for flags, shown in (((), False), (("--show_values",), True), (("--show_values=false",), False)):
        assert checking.run(f"--model={stub.uri()}", "--sample=1", *flags) == 0
        assert ("77123" in checking.printed, "secret" in checking.printed) == (shown, shown)


def test_an_empty_topic_is_checked_by_the_model_alone(checking: Checking, stub: TfServingGrpcStub) -> None:
    assert checking.run(f"--model={stub.uri()}", "--sample=5") == 0
    assert "the topics have no records to look at" in checking.printed


def test_over_rest(checking: Checking) -> None:
    checking.produce(*GOOD)
    with TfServingRestStub() as rest:
        assert checking.run(f"--model={rest.uri()}", "--sample=2") == 0
        assert f"request    HTTP POST to http://{rest.address}/v1/models/model:predict" in checking.printed
        assert rest.faults.requests == 0
    assert "bytes in all, without headers" in checking.printed


def test_a_model_in_the_worker(checking: Checking) -> None:
    checking.produce(load_digits()[0].png)
    assert checking.run(f"--model=saved_model://{MODEL_DIR}", "--sample=1") == 0
    assert "request    none is sent: the model is in the worker (saved_model://" in checking.printed
    assert "1 records read, 1 fit" in checking.printed


def test_a_server_without_a_signature(checking: Checking) -> None:
    """One example a request, and JSON as it is."""
    checking.produce(*GOOD)
    with TorchServeStub() as other:
        assert checking.run(f"--model={other.uri()}", "--sample=2") == 0
        assert f"request    HTTP POST to http://{other.address}/predictions/model" in checking.printed
    assert "the server publishes no signature" in checking.printed
    assert "at most 1 rows a request (the server takes no more); of the records read, 1:" in checking.printed


def test_without_a_signature_nothing_is_said_to_fit_until_it_is_tried(checking: Checking) -> None:
    checking.produce(b'{"x":[1,2]}')
    with TorchServeStub() as other:
        assert checking.run(f"--model={other.uri()}", "--sample=2") == 0
        assert "1 records read, 1 can be sent" in checking.printed
        assert "only the model can say, as its server publishes no signature: --try sends one request" in checking.printed
        assert " fit" not in checking.printed.replace("whether they fit", "")
        assert checking.run(f"--model={other.uri()}", "--try") == 0
        assert "the answer below is to one request of them" in checking.printed
        assert "answer     {" in checking.printed


def test_one_real_request(checking: Checking, stub: TfServingGrpcStub) -> None:
    """As the run would write it; what the model refuses is told with its reason, and nothing of the record."""
    checking.produce(*GOOD)
    before = stub.faults.requests
    assert checking.run(f"--model={stub.uri()}", "--try", "--sample=5", "--pass_through=id=$.x[1]") == 0
    assert stub.faults.requests == before + 1
    assert (
        'answer     {"id":2,"y":[2.5,3.0]}' in checking.printed or 'answer     {"id":4,"y":[3.75,4.0]}' in checking.printed
    )
    healthy, stub.faults.poison = stub.faults.poison, lambda row: True
    try:
        assert checking.run(f"--model={stub.uri()}", "--try", "--output_topic=ou") == 2
    finally:
        stub.faults.poison = healthy
    assert "request    gRPC" in checking.printed
    missing, refused = checking.errors.splitlines()
    assert missing.startswith("error: --output_topic=ou: the topic does not exist")
    assert refused.startswith("error: --try: model does not answer a request of the first record that fits: ")


def test_the_command_of_the_run() -> None:
    argv = [
        *("--sample=5", "--model=grpc://h:1/m", "--input_topic", "a", "--input_topic=b", "--try", "--features=x=$.a b"),
        *("--kafka_config=sasl.password=secret", "--kafka_config=sasl.username=${USER}", "--show_values", "--job_name=j"),
    ]
    command = check_flags.run_command(argv)
    assert "--input_topic=a --input_topic=b" in command
    assert "'--features=x=$.a b'" in command
    assert "--model=grpc://h:1/m" in command
    assert "'--kafka_config=sasl.password=…' '--kafka_config=sasl.username=${USER}'" in command
    assert command.endswith(" --job_name=j")
    for left_out in ("secret", "--sample", "--show_values", "--try"):
        assert left_out not in command


def test_the_bytes_of_a_request_are_those_of_the_wire(checking: Checking) -> None:
    """A model whose signature leaves no size open: known without a record."""
    x = {"x": TensorSpec("float32", (-1, 4))}
    with TfServingGrpcStub(
        StubModel.of(x, {"y": TensorSpec("float32", (-1, 4))}, lambda inputs: {"y": inputs["x"]})
    ) as fixed:
        assert checking.run(f"--model={fixed.uri()}", "--batch_max_size=8") == 0
        assert "x  float32[8,4]  128 bytes" in checking.printed
        total = next(line for line in checking.printed.splitlines() if "in all" in line)
        assert 128 < int(total.split()[0]) < 256


@pytest.mark.parametrize("name", ["model", "format", "topic", "server"])
def test_what_a_run_refuses_it_refuses(checking: Checking, stub: TfServingGrpcStub, name: str) -> None:
    """By the same code: model and topics are asked, formats compared."""
    with TfServingGrpcStub() as gone:
        nowhere = gone.uri()
    flags, said = {
        "model": ([f"--model={stub.uri(signature='nosuch')}"], "serving_default"),
        "format": (
            [f"--model={stub.uri()}", "--input_format=bytes"],
            "--input_format=bytes: needs a signature of one string",
        ),
        "topic": (
            [f"--model={stub.uri()}", "--output_topic=ou"],
            "--output_topic=ou: the topic does not exist; did you mean",
        ),
        "server": ([f"--model={nowhere}"], "can't be reached"),
    }[name]
    assert checking.run(*flags) == 2
    assert checking.errors.startswith("error: --")
    assert said in checking.errors


def test_a_terminal_gets_a_table(checking: Checking, stub: TfServingGrpcStub, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    checking.produce(b'{"x":[1],"[red]":1}')
    out = Terminal()
    assert check(check_flags.parse(checking.flags(f"--model={stub.uri()}", "--sample=1"), {}), out) == 0
    assert "──" in out.getvalue()
    assert "[red]" in out.getvalue(), "a field's name is no markup"


# ---------------------------------------------------------------------- the command line


def test_flags() -> None:
    asked = check_flags.parse([*OWN, "--sample=7", "--show_values"], {})
    assert (asked.sample, asked.show_values, asked.output_topic) == (7, True, "out")
    assert check_flags.parse(OWN, {}).sample == 0
    with pytest.raises(ConfigError) as caught:
        check_flags.parse([*OWN, "--sample=many", "--show_values=perhaps", "--workers=0"], {})
    assert [mistake.partition(":")[0] for mistake in caught.value.mistakes] == [
        "--sample=many",
        "--show_values",
        "--workers=0",
    ]


def command(*argv: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pipeline.check", *argv]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def test_as_a_command(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(b'{"X":[1]}')
    done = command(*checking.flags(f"--model={stub.uri()}", "--sample=1"))
    assert done.returncode == 2
    assert "x: missing in 1 of 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("model ")
    checking.produce(*GOOD)
    done = command(*checking.flags(f"--model={stub.uri()}", "--sample=10"))
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    assert last == f"to run     python -m pipeline {' '.join(checking.flags(f'--model={stub.uri()}'))}"


def test_help_lists_its_flags_and_those_of_a_run() -> None:
    done = command("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for flag in ("--sample", "--show_values", "--model", "--input_topic"):
        assert flag in done.stdout
    assert "python -m pipeline.check [--flag=value …]" in done.stdout
