"""Without Google's credentials nothing is staged, and nobody is asked to log in by a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.dataflow_job import main
from pipeline.runners.dataflow.credentials import check_credentials
from transforms.errors import ContractError

USER = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a login, which is not Google's."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def test_none_are_told_with_the_cure() -> None:
    with pytest.raises(ContractError, match=r"no credentials for Google Cloud: .*gcloud auth application-default login"):
        check_credentials([])


def test_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(ContractError, match=r"key\.json was not found"):
        check_credentials(["--no_auth=false"])


def test_a_login_is_taken_and_none_is_needed_without_auth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_credentials(["--no_auth"])
    (tmp_path / "user.json").write_text(json.dumps(USER))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "user.json"))
    check_credentials([])


def test_a_drain_without_credentials_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Beam's client printed traces and waited for a login in a browser."""
    assert main(["drain", "scoring", "--project=p", "--region=europe-west1"]) == 2
    assert "gcloud auth application-default login" in capsys.readouterr().err
