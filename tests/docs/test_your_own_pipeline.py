"""The page about pipelines of one's own: its whole program, as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.pages import blocks
from transforms.child_process import module_environ
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

PAGE = "docs/how-to/your-own-pipeline.md"


def test_model_update(tmp_path: Path) -> None:
    """Each window's elements are answered by the model that its update names."""
    [block] = [block for block in blocks(PAGE) if block.title == "model_update.py"]
    program = tmp_path / block.title
    program.write_text(block.text)
    with TfServingGrpcStub() as older, TfServingGrpcStub(StubModel(versions={2: "AVAILABLE"})) as newer:
        command = [sys.executable, str(program), older.uri(), newer.uri()]
        done = subprocess.run(command, env=module_environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "[1.0] [2.5] model@1",
        "[2.0] [3.] model@2",
        "[3.0] [3.5] model@2",
    ]
