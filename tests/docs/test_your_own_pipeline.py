"""The page about pipelines of one's own: its whole program, as it stands there."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.docs.pages import blocks
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

PAGE = "docs/how-to/your-own-pipeline.md"


def test_model_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Each window's elements are answered by the model that its update names."""
    [block] = [block for block in blocks(PAGE) if block.title == "model_update.py"]
    program = tmp_path / block.title
    program.write_text(block.text)
    with TfServingGrpcStub() as older, TfServingGrpcStub(StubModel(versions={2: "AVAILABLE"})) as newer:
        monkeypatch.setattr(sys, "argv", [block.title, older.uri(), newer.uri()])
        runpy.run_path(str(program), run_name="__main__")
    assert sorted(capfd.readouterr().out.splitlines()) == [
        "[1.0] [2.5] model@1",
        "[2.0] [3.] model@2",
        "[3.0] [3.5] model@2",
    ]
