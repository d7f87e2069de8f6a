"""A protocol that somebody else's package adds: installed by its entry point, held to the contract, used in a pipeline.

The package is ``toy/``, which ``CONTRIBUTING.md`` shows. It is copied to a folder of its own, with what an installer writes
beside it, so that nothing of it is found except through its distribution.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import RunInference
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline  # pytest collects what is called Test…
from apache_beam.testing.util import assert_that, equal_to

from pipeline.embedded.broker import EmbeddedBroker
from tests import topics
from transforms import Predict
from transforms.clients.registry import ENTRY_POINT_GROUP
from transforms.handlers import UriModelHandler, is_failure
from transforms.testing.stub_server import StubServer

ROOT = Path(__file__).parent.parent.parent
TOY = Path(__file__).parent / "toy"
POISON = 666.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with kms-toy installed, as an installer leaves it; on this process's path."""
    project = tomllib.loads((TOY / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("site-packages")
    shutil.copytree(TOY / "kms_toy", folder / "kms_toy", ignore=shutil.ignore_patterns("__pycache__"))
    info = folder / f"kms_toy-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"][ENTRY_POINT_GROUP]
    lines = [f"[{ENTRY_POINT_GROUP}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "kms_toy"]:
        del sys.modules[name]


@pytest.fixture
def stub(site: Path) -> Iterator[StubServer]:
    """A running toy server that refuses a batch with a poison row."""
    from kms_toy.stub import ToyStub

    with ToyStub() as stub:
        stub.faults.poison = lambda row: POISON in np.asarray(row["x"])
        yield stub


def environment(site: Path) -> dict[str, str]:
    """For a process of its own, which finds the package and this project."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def test_it_is_found_by_its_entry_point_alone(site: Path) -> None:
    assert {point.name for point in entry_points(group=ENTRY_POINT_GROUP)} >= {"toy+http", "toy+https"}
    mentions = [path for folder in ("transforms", "pipeline") for path in (ROOT / folder).rglob("*.py")]
    assert not [path for path in mentions if "kms_toy.client" in path.read_text() and path.name != "registry.py"]


def test_it_passes_the_contract(site: Path, tmp_path: Path) -> None:
    """Run as its author would: pytest, outside this repository, without a configuration."""
    shutil.copy(TOY / "toy_contract.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "toy_contract.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(site), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    [passed] = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 50, done.stdout[-500:]


def test_predict_scores_with_it(stub: StubServer) -> None:
    rows = [{"x": [1.0]}, {"x": [POISON]}, {"x": [2.0]}]

    def shown(result: object) -> object:
        return (getattr(result, "failure", None) and "refused") or float(np.ravel(result.outputs["y"])[0])  # type: ignore[attr-defined]

    with BeamPipeline(runner=FnApiRunner()) as pipeline:
        scored = pipeline | beam.Create(rows, reshuffle=False) | Predict(stub.uri()) | beam.Map(shown)
        assert_that(scored, equal_to([2.5, "refused", 3.0]))


def test_run_inference_scores_with_it(stub: StubServer) -> None:
    """By the handler that takes any URI: none of the toy's own is needed."""
    handler = UriModelHandler(stub.uri(), retry_deadline_s=0.2)
    rows = [{"x": np.array([value], np.float32)} for value in (1.0, POISON, 2.0)]

    def check(results: list[object]) -> None:
        assert sorted(is_failure(result) for result in results) == [False, False, True]

    with BeamPipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | beam.Create(rows, reshuffle=False) | RunInference(handler), check)


def test_the_pipeline_scores_a_topic_with_it(site: Path, stub: StubServer) -> None:
    """``python -m pipeline``, in a process of its own: predictions and a dead letter."""
    with EmbeddedBroker({"in": 1, "out": 1, "out.dead-letter": 1}) as broker:
        topics.produce(broker.address, "in", [b'{"x":[1]}', b'{"x":[666]}', b'{"x":[2]}'])
        flags = [f"--bootstrap_servers={broker.address}", "--input_topic=in", "--output_topic=out", "--max_records=3"]
        command = [sys.executable, "-m", "pipeline", f"--model={stub.uri()}", *flags, "--start_from=earliest"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(site), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        predictions = topics.read_all(broker.address, "out")
        dead_letters = topics.read_all(broker.address, "out.dead-letter")
    assert [json.loads(record.value or b"") for record in predictions] == [{"y": [2.5]}, {"y": [3.0]}]
    assert [dict(record.headers)["inference.version"] for record in predictions] == [b"1", b"1"]
    assert [dict(record.headers)["inference.error.class"] for record in dead_letters] == [b"Rejected"]


@pytest.mark.parametrize("name", ["pyproject.toml", "kms_toy/client.py", "kms_toy/stub.py", "toy_contract.py"])
def test_contributing_shows_the_code_that_runs(name: str) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.search(rf"^`{re.escape(name)}`[^\n]*:\n\n```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown, f"CONTRIBUTING.md shows no {name}"
    assert shown[1] == (TOY / name).read_text(encoding="utf-8")
