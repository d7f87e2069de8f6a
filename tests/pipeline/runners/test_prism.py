"""Where Prism's binary comes from: the cache, Beam's release, Go; and what is said when none of them has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runners.prism import LISTENS, LOCAL, RELEASE, VERSION, find_prism, listen_locally, with_prism
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
    binary(folder / LOCAL)
    assert find_prism(print, down, down) == folder / LOCAL


def test_it_is_built_where_there_is_go(folder: Path) -> None:
    """A release that is there already listens on all addresses: it is the last resort."""
    binary(folder / RELEASE)
    said: list[str] = []
    assert find_prism(said.append, down, lambda _, into: binary(into / LOCAL)) == folder / LOCAL
    assert find_prism(said.append, down, down) == folder / LOCAL
    assert len(said) == 1, "and says so once"


def test_without_go_it_is_beams_release_which_is_said_to_be_open(folder: Path) -> None:
    """It is moved to where the next run finds it."""
    said: list[str] = []
    assert find_prism(said.append, lambda version, into: binary(into / f"prism-{version}"), down) == folder / RELEASE
    assert find_prism(said.append, down, down) == folder / RELEASE
    assert len([text for text in said if "listens on all addresses" in text]) == 2


def test_without_either_the_cures_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"no route.*--prism_location=FILE.*--runner=DirectRunner"):
        find_prism(print, down, down)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContractError, match=r"there is no Go to build it with"):
        find_prism(print, down)


def test_the_source_is_changed_in_one_line_or_not_at_all(tmp_path: Path) -> None:
    source = tmp_path / "server.go"
    source.write_text("\tlis, err := " + LISTENS[0] + "\n\tother(port)\n")
    listen_locally(source)
    assert source.read_text() == '\tlis, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))\n\tother(port)\n'
    for other in ("", 2 * LISTENS[0]):
        source.write_text(other)
        with pytest.raises(OSError, match="not as it was tested"):
            listen_locally(source)
        assert source.read_text() == other


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
