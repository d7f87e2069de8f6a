"""``python -m pipeline`` as a command: its exit status and what it says, before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import confluent_kafka as ck

from pipeline.cli.config import FLAGS

ROOT = Path(__file__).parent.parent.parent


def pipeline(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *argv]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def test_help_lists_every_flag() -> None:
    done = pipeline("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for flag in FLAGS:
        assert f"--{flag.name}" in done.stdout


def test_wrong_flags_end_with_2_and_all_of_them_are_named() -> None:
    done = pipeline("--delivery=twice", "--workers=0", "--bootstrap_servers=h:1", "--direct_num_workers=2", "--no_such_flag")
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    for flag in (
        "--delivery=twice",
        "--workers=0",
        "--input_topic",
        "--output_topic",
        "--direct_num_workers",
        "--no_such_flag",
    ):
        assert any(line.startswith(f"error: {flag}") for line in lines), flag
    assert "--help" in lines[-1]
    assert "Traceback" not in done.stderr


def test_a_model_that_does_not_answer_ends_with_2_before_anything_is_read() -> None:
    """Nothing listens on port 1. The broker is librdkafka's own."""
    broker = ck.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
    [metadata] = broker.list_topics(timeout=10).brokers.values()
    done = pipeline(
        f"--bootstrap_servers={metadata.host}:{metadata.port}",
        "--input_topic=a",
        "--output_topic=b",
        "--model=grpc://127.0.0.1:1/m",
        "--request_timeout_ms=500",
        "--wait_for_start_s=0",
    )
    assert done.returncode == 2
    assert "error: --model=grpc://127.0.0.1:1/m: the model server can't be reached" in done.stderr
    assert "Traceback" not in done.stderr
