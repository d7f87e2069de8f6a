"""A job whose model is in the worker, from a file system that only Beam reads; with the embedded broker, without Java."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import confluent_kafka as ck
import pytest

from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.digits import MODEL_DIR
from pipeline.embedded.generator import publish_digits
from tests.pipeline.cli.parsing import OWN, mistake, parse

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, sys
from pathlib import Path
from pipeline.cli import options
from pipeline.launch import launch
from tests.memory_file_system import MemoryFileSystem
model = Path(sys.argv[1])
for path in model.rglob("*"):
    if path.is_file():
        MemoryFileSystem.objects[f"memory://bucket/digits/{path.relative_to(model)}"] = path.read_bytes()
status = launch(options.parse(sys.argv[2:]))
sys.stdout.flush()
os._exit(status)
"""


def test_the_digits_with_a_model_from_elsewhere(tmp_path: Path) -> None:
    """It is copied, loaded once, and scores what the model server scores; of the copy, nothing is left."""
    (tmp_path / "tmp").mkdir()
    with EmbeddedBroker({"digits": 2, "scored": 2, "scored.dead-letter": 2}) as broker:
        publish_digits(broker.address, "digits")
        flags = [
            f"--bootstrap_servers={broker.address}",
            "--input_topic=digits",
            "--output_topic=scored",
            "--model=saved_model://memory://bucket/digits",
            "--status=plain",
            "--until_end",
            f"--summary_json={tmp_path}/summary.json",
        ]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(MODEL_DIR), *flags],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done
    assert done.stderr == ""
    assert "scoring digits with digits version 1 (saved_model://memory://bucket/digits)" in done.stdout
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["predictions"], summary["dead_letters"]) == (1797, 20)
    assert list((tmp_path / "tmp").glob("kafka-model-scoring-*/saved-models/*")) == []


def test_flags() -> None:
    assert parse(*OWN, f"--model=saved_model://{MODEL_DIR}", "--model_poll_s=0.5").model_in_worker
    assert not parse().model_in_worker
    assert not parse(*OWN, "--model=saved_model:///m?signature=a://b").model_read_by_beam
    assert parse(*OWN, "--model=saved_model://gs://b/m").model_read_by_beam
    assert parse("--model_poll_s=0.5").model_poll_s == 0.5
    assert "give a number above 0" in mistake("--model_poll_s=0")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("saved_model:///no/such/model", "expected /no/such/model/1/saved_model.pb"),
        ("saved_model://nosuch://b/m", "Beam has no file system for nosuch:// here"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_with_2(uri: str, said: str) -> None:
    broker = ck.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
    [metadata] = broker.list_topics(timeout=10).brokers.values()
    topics = [f"--bootstrap_servers={metadata.host}:{metadata.port}", "--input_topic=a", "--output_topic=b"]
    command = [sys.executable, "-m", "pipeline", f"--model={uri}", *topics]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 2, done
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: --model")]
    assert said in line
    assert "Traceback" not in done.stderr
