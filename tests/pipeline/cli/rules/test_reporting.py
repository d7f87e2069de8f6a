"""What is said of a server that nobody has asked for is refused: it would be dropped without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.cli.parsing import OWN, mistake, mistakes, parse


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ("--status_host=0.0.0.0", "--status_port"),
        ("--status_inputs", "--status_port"),
        ("--metrics_host=0.0.0.0", "--metrics_port"),
    ],
)
def test_a_flag_of_a_server_needs_its_port(given: str, port: str) -> None:
    text = mistake(given)
    assert text.startswith(f"{given}: is ")
    assert text.endswith(f"is served with {port} only; add {port}=PORT, or leave it out")
    parse(*OWN, given, f"{port}=8080")


def test_a_port_that_is_wrong_is_the_only_mistake() -> None:
    [text] = mistakes(*OWN, "--status_host=0.0.0.0", "--status_inputs", "--status_port=eighty")
    assert text.startswith("--status_port=eighty:")


def test_a_file_may_list_defaults(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("status_inputs: false\nmetrics_host: 127.0.0.1\n", encoding="utf-8")
    assert not parse(*OWN, f"--config={tmp_path / 'job.yaml'}").status_inputs


def test_the_demo_has_the_rule_too() -> None:
    [text] = mistakes("--status_inputs")
    assert text.startswith("--status_inputs: is about the page")
