"""The folder below ``/tmp``: a name that anybody can guess, so that what stands there is looked at before it is used."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from transforms.errors import ConfigError
from transforms.private_folder import private_folder


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"kafka-model-scoring-{os.getuid()}"


def test_it_is_made_for_its_user_alone(name: Path) -> None:
    assert private_folder() == private_folder() == name
    assert name.stat().st_mode & 0o777 == 0o700


def test_what_others_may_write_to_is_closed(name: Path) -> None:
    name.mkdir()
    name.chmod(0o777)
    private_folder()
    assert name.stat().st_mode & 0o777 == 0o700


def test_a_link_is_refused(name: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    name.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"is not a folder of this user .* set TMPDIR"):
        private_folder()


def test_a_file_is_refused(name: Path) -> None:
    name.write_text("")
    with pytest.raises(ConfigError, match=r"can't be used: .* set TMPDIR"):
        private_folder()


def test_another_users_is_refused(name: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name.mkdir()
    other = os.getuid() + 1
    name.rename(name.with_name(f"kafka-model-scoring-{other}"))
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(ConfigError, match="is not a folder of this user"):
        private_folder()
