"""What a first hour gets wrong: each answer is one line that names the flag, says what is so, and the next step; in time.

The command line's own functions run in this process: a process of its own would add two seconds of imports to each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pipeline import dataflow_job, score
from pipeline.checking import command
from pipeline.dead_letter_tools import replay
from pipeline.embedded import __main__ as embedded
from pipeline.embedded import options as embedded_options
from pipeline.embedded.broker import EmbeddedBroker
from tests.mistakes.table import ASKED, FILES, OWN, PARSED, Mistake
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.tfserving.rest_stub import TfServingRestStub
from transforms.types import TensorSpec

MOST_S = 5.0

Places = Mapping[str, str]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with TfServingGrpcStub() as gone:
        nobody = gone.address
    pair = {"x": TensorSpec("float32", (-1, 2))}
    model = StubModel.of(pair, {"y": TensorSpec("float32", (-1, 2))}, lambda given: {"y": given["x"]})
    with (
        EmbeddedBroker({"orders": 1, "scored": 1}) as broker,
        TfServingGrpcStub(model) as stub,
        TfServingGrpcStub(model) as other,
        TfServingRestStub(model) as rest,
    ):
        yield {
            "kafka": broker.address,
            "model": stub.uri(),
            "at": stub.address,
            "other": other.address,
            "rest": rest.address,
            "nobody": nobody,
            "folder": str(folder),
        }


def filled(text: str, places: Places) -> str:
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def argv(mistake: Mistake, places: Places) -> list[str]:
    flags = {**OWN, **mistake.flags}
    return [f"--{name}={filled(value, places)}" for name, value in flags.items() if value is not None]


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]


def check(mistake: Mistake, lines: list[str], seconds: float, places: Places) -> None:
    assert len(lines) == 1, lines
    assert lines[0].startswith(filled(mistake.names, places)), lines
    assert not [words for words in mistake.says if filled(words, places) not in lines[0]], lines
    assert seconds < MOST_S


def test_there_are_forty() -> None:
    assert len(PARSED) + len(ASKED) >= 40
    assert len({repr(mistake) for mistake in (*PARSED, *ASKED)}) == len(PARSED) + len(ASKED)


@pytest.mark.parametrize("mistake", PARSED, ids=lambda mistake: mistake.names)
def test_a_wrong_command_line(
    mistake: Mistake, places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2; nothing was asked: the launch of a job would fail this test."""
    monkeypatch.setattr(sys, "argv", ["pipeline", *argv(mistake, places)])
    began = time.process_time()
    assert score.main(lambda config: pytest.fail("the job was launched")) == 2
    check(mistake, told(capsys), time.process_time() - began, places)


@pytest.mark.parametrize("mistake", ASKED, ids=lambda mistake: mistake.names)
def test_what_does_not_fit_what_is_there(mistake: Mistake, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    """By the checks that a run makes, too; exit status 2. Only waiting for nobody may take longer."""
    began = time.process_time()
    assert command.main(argv(mistake, places)) == 2
    check(mistake, told(capsys), time.process_time() - began, places)


def test_all_of_them_at_once(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Labels, files, YAML, the environment and flags: each told once."""
    config = tmp_path / "job.yaml"
    config.write_text("output_topik: scored\nworkers: 0\n")
    flags = [
        f"--config={config}",
        f"--labels={filled('{folder}', places)}/labels.txt",
        "--kafka_config=sasl.password=${NOT_SET}",
        "--kafka_config=ssl.key.password=${NOT_SET_EITHER}",
        "--model_ca_file=/nowhere.pem",
        "--runner=SparkRunner",
        "--start_from=tomorrow",
        "--features=x=$.a|numbr,y=a.b",
        "--input_topic=orders",
        "--bootstrap_servers=h:1",
        "--model=grpc://h:1/m",
    ]
    monkeypatch.setattr(sys, "argv", ["pipeline", *flags])
    assert score.main() == 2
    lines = told(capsys)
    assert len(lines) == len(set(lines)) == 11, lines
    for words in ("line 1: output_topik", "--workers=0", "labels 2, 4", "NOT_SET is", "NOT_SET_EITHER is", "/nowhere.pem",
                  "SparkRunner", "tomorrow", "numbr: no such word", "--features=a.b: ", "--output_topic: name"):  # fmt: skip
        assert [line for line in lines if words in line], (words, lines)


@pytest.mark.parametrize("text", [None, "a: [", "- orders", ""])
def test_what_stands_in_a_file_that_cannot_be_read_is_not_missing(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file alone is told, with other mistakes of the command line: topics and model stand in it."""
    config = tmp_path / "job.yaml"
    if text is not None:
        config.write_text(text)
    monkeypatch.setattr(sys, "argv", ["pipeline", f"--config={config}", "--workers=0", "--bootstrap_servers=h:1"])
    commands: list[Callable[[], int]] = [score.main, replay.main]
    for main in commands:
        assert main() == 2
        file, workers = sorted(told(capsys))
        assert file.startswith(f"--config={config}")
        assert workers.startswith("--workers=0: ")


@pytest.mark.parametrize(
    "main", [command.main, embedded_options.parse, dataflow_job.main], ids=["check", "embedded", "dataflow_job"]
)
def test_the_version(main: Callable[[list[str]], object], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("kafka-model-scoring ")


@pytest.mark.parametrize(
    ("main", "flags", "says"),
    [
        (embedded.main, ["--kafka_prt=1"], "--kafka_prt: no such flag; did you mean --kafka_port?"),
        (embedded.main, ["--topic"], "--topic: takes a value, as in --topic=VALUE"),
        (embedded.main, ["digits"], "a word belongs to no flag"),
        (dataflow_job.main, ["drian", "job", "--project=p", "--region=r"], "action: invalid choice: 'drian' (choose from "),
        (dataflow_job.main, ["drain", "job"], "the following arguments are required: --project, --region"),
        (
            dataflow_job.main,
            ["drain", "job", "--project=p", "--region=r", "--dataflow_endpont=h"],
            "--dataflow_endpont: no such flag; did you mean --dataflow_endpoint?",
        ),
    ],
)
def test_the_other_commands_say_it_as_this_one(
    main: Callable[[list[str]], int], flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for the mistake, one for where the flags are listed; argparse's usage is not among them."""
    assert main(flags) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {says}")
    assert second.endswith("--help lists the flags")
