"""A server as a child process: what cannot be run, or ends at once, is told in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from transforms.child_process import child_server, free_port
from transforms.errors import ContractError


def test_what_can_not_be_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for command in (str(tmp_path / "text"), str(tmp_path / "nothing")):
        with pytest.raises(ContractError, match="the server can't be run"), child_server([command], 1, "the server"):
            pass


def test_what_ends_at_once_shows_its_last_words() -> None:
    command = ["sh", "-c", "echo no licence; exit 3"]
    with (
        pytest.raises(ContractError, match=r"the server ended \(status 3\):\nno licence"),
        child_server(command, free_port(), "the server"),
    ):
        pass
