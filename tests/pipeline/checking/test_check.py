"""``python -m pipeline.check`` against stub servers and the embedded broker: what it prints, its exit status, no traces."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.checking import flags as check_flags
from pipeline.checking.command import check
from pipeline.checking.waiting import StartWait
from pipeline.embedded.digits import MODEL_DIR, load_digits
from tests import topics
from tests.pipeline.checking.checking import Checking
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
    line, cure = checking.errors.splitlines()
    assert cure == "error: with the --features above 2 of them fit"
    assert line == (
        f"error: --input_topic={checking.topic}: none of the 2 records read fits model: "
        "x: missing in 2 of 2; did you mean 'X'?"
    )
    assert "request" not in checking.printed


def test_records_that_are_none_are_named_beside_the_field(checking: Checking, stub: TfServingGrpcStub) -> None:
    checking.produce(None, None, None, b'{"y":[3]}')
    assert checking.run(f"--model={stub.uri()}", "--sample=10") == 2
    field, record, cure = checking.errors.splitlines()
    assert cure == "error: with the --features above 1 of them fits"
    assert field.endswith("none of the 4 records read fits model: x: missing in 1 of 1")
    assert record.endswith("fits model: the value is null (a tombstone), so there is nothing to predict from (3 of 4)")


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
    assert "1 record read, 1 fit" in checking.printed


def test_a_server_without_a_signature(checking: Checking) -> None:
    """One example a request, and JSON as it is."""
    checking.produce(*GOOD)
    with TorchServeStub() as other:
        assert checking.run(f"--model={other.uri()}", "--sample=2") == 0
        assert f"request    HTTP POST to http://{other.address}/predictions/model" in checking.printed
    assert "the server publishes no signature" in checking.printed
    assert "at most 1 row a request (the server takes no more); of the records read, 1:" in checking.printed


def test_without_a_signature_nothing_is_said_to_fit_until_it_is_tried(checking: Checking) -> None:
    checking.produce(b'{"x":[1,2]}')
    with TorchServeStub() as other:
        assert checking.run(f"--model={other.uri()}", "--sample=2") == 0
        assert "1 record read, 1 can be sent" in checking.printed
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


@pytest.mark.parametrize(
    ("type_of_id", "answer"),
    [
        ("long", '{"id":4,"y":[3.75,4.0]}'),
        ("boolean", "it would be a dead letter: the prediction does not fit its schema: "),
    ],
    ids=["fits", "does_not_fit"],
)
def test_an_answer_is_written_by_the_schema(
    checking: Checking, stub: TfServingGrpcStub, type_of_id: str, answer: str
) -> None:
    """As the run would: it is told what the schema does not take. What it takes is shown as the JSON it is made of."""
    pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")
    checking.produce(GOOD[1])
    with SchemaRegistryStub() as registry:
        flags = (f"--schema_registry={registry.url}", "--pass_through=id=$.x[1]", f"--output_types=id={type_of_id}")
        for output_format in ("avro", "protobuf"):
            checking.run(f"--model={stub.uri()}", "--try", f"--output_format={output_format}", *flags)
            assert f"answer     {answer}" in checking.printed, checking.errors


@pytest.mark.parametrize(
    ("code", "wait_s", "requests"),
    [
        ("UNAVAILABLE", 60, 3),
        ("UNAVAILABLE", 0, 1),
        ("INVALID_ARGUMENT", 60, 1),
    ],
)
def test_who_has_just_started_is_asked_again(
    checking: Checking,
    stub: TfServingGrpcStub,
    code: str,
    wait_s: int,
    requests: int,
) -> None:
    """It describes its model before it runs it. What it says of the request is the answer."""
    checking.produce(*GOOD)
    before = stub.faults.requests
    stub.faults.fail_next(2, code)
    try:
        found = checking.run(f"--model={stub.uri()}", "--try", waiting=StartWait(wait_s, pause=lambda _: None))
    finally:
        stub.faults.clear()
    assert found == (0 if requests == 3 else 2), checking.errors
    assert stub.faults.requests == before + requests
    assert ("answer     {" in checking.printed) is (requests == 3)
    assert ("error: --try: model does not answer" in checking.errors) is (requests == 1)


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
    config = "--kafka_config=security.protocol=SASL_SSL"
    assert config in check_flags.run_command([*argv, config]), "no secret"
    mixed = check_flags.run_command([*argv, "--kafka_config=ssl.key.password=${A}secret"])
    assert "'--kafka_config=ssl.key.password=…'" in mixed
    bearer = "--model_header=authorization=Bearer ${secret:projects/p/secrets/s}"
    assert f"'{bearer}'" in check_flags.run_command([*argv, bearer])
    assert command.endswith(" --job_name=j")
    assert check_flags.run_command([*argv, "--create_topics", "--yes=false"]).split().count("--create_topics") == 1
    proposed = check_flags.run_command([*argv, "--features=y=$.c"], "x=$.d")
    assert "--features=x=$.d" in proposed.replace("'", "")
    assert proposed.count("--features") == 1
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
            "--output_topic=ou: the topic does not exist (did you mean",
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
    argv = checking.flags(f"--model={stub.uri()}", "--sample=1", f"--job_name={'long' * 50}")
    out = Terminal()
    assert check(check_flags.parse(argv, {}), out, argv) == 0
    assert out.getvalue().splitlines()[-1].endswith(check_flags.run_command(argv)), "on one line, to be pasted"
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
