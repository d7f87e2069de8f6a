"""Where Prism's binary comes from: the cache, Beam's release, Go; and what is said when none of them has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runners.prism import VERSION, find_prism, with_prism
from transforms.cache import CACHE_VARIABLE
from transforms.errors import ContractError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the binary is kept, empty."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return tmp_path / "prism" / VERSION


def binary(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o755)
    return path


def down(version: str, folder: Path) -> Path:
    raise OSError("no route")


def test_the_cache_is_asked_first(folder: Path) -> None:
    binary(folder / "prism")
    assert find_prism(print, down, down) == folder / "prism"


def test_beams_release_comes_before_building(folder: Path) -> None:
    """It is moved to where the next run finds it."""
    assert find_prism(print, lambda version, into: binary(into / f"prism-{version}"), down) == folder / "prism"
    assert find_prism(print, down, down) == folder / "prism"


def test_without_a_release_it_is_built(folder: Path) -> None:
    said: list[str] = []
    assert find_prism(said.append, down, lambda _, into: binary(into / "prism")) == folder / "prism"
    assert f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@{VERSION}" in said[1]


def test_without_either_the_cures_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"no route.*--prism_location=FILE.*--runner=DirectRunner"):
        find_prism(print, down, down)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContractError, match=r"there is no Go to build it with"):
        find_prism(print, down)


def test_a_location_that_is_not_there_is_a_mistake() -> None:
    with (
        pytest.raises(ContractError, match=r"--prism_location=/nowhere: no such file"),
        with_prism(["--prism_location=/nowhere"], print),
    ):
        pass
    with (
        pytest.raises(ContractError, match="--prism_location=/nowhere"),
        with_prism(["--prism_location", "/nowhere"], print),
    ):
        pass


def test_a_binary_that_is_not_prism_shows_its_words(tmp_path: Path) -> None:
    wrong = binary(tmp_path / "wrong")
    wrong.write_text("#!/bin/sh\necho I am no runner\nexit 3\n")
    with (
        pytest.raises(ContractError, match=r"Prism ended \(status 3\):\nI am no runner"),
        with_prism([f"--prism_location={wrong}"], print),
    ):
        pass


def test_a_stream_outlasts_the_job_services_time_out() -> None:
    """Beam's default of 300 s bounds the stream of job states, too. What is given is left as it is."""
    with with_prism(["--job_endpoint=h:1"], print) as arguments:
        given = dict(argument.partition("=")[::2] for argument in arguments)
    assert int(given["--job_server_timeout"]) > 365 * 24 * 3600
    assert given["--environment_type"] == "LOOPBACK"
    with with_prism(["--job_endpoint=h:1", "--job_server_timeout=5"], print) as arguments:
        assert [argument for argument in arguments if "timeout" in argument] == ["--job_server_timeout=5"]
