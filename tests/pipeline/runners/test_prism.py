"""Where Prism's binary comes from: the cache, Go; what is said when none of them has it; and who may reach it."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import pytest

from pipeline.runners.prism import LISTENS, LOCAL, VERSION, find_prism, listen_locally, with_prism
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


def fails(version: str, folder: Path) -> Path:
    raise OSError("go build failed: no route")


def test_the_cache_is_asked_first(folder: Path) -> None:
    binary(folder / LOCAL)
    assert find_prism(print, fails) == folder / LOCAL


def test_it_is_built_once(folder: Path) -> None:
    said: list[str] = []
    assert find_prism(said.append, lambda _, into: binary(into / "made")) == folder / LOCAL
    assert find_prism(said.append, fails) == folder / LOCAL
    assert len(said) == 1, "and says so once"


def test_without_go_the_cures_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is downloaded: of Beam's release no hash is known, and it listens on all addresses."""
    cures = r"install Go.*--runner=DirectRunner.*--prism_location=FILE.*--allow_open_ports"
    with pytest.raises(ContractError, match=f"go build failed: no route; {cures}"):
        find_prism(print, fails)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContractError, match=f"there is no Go to build Prism with; {cures}"):
        find_prism(print)


LISTENER = """#!{python}
import os, pathlib, socket, sys
[port] = [argument.partition("=")[2] for argument in sys.argv if argument.startswith("--job_port=")]
with socket.create_server(("{host}", int(port))) as server:
    pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
    while True:
        server.accept()
"""


def listener(folder: Path, host: str) -> Path:
    """Stands for Prism: listens on a host's address, and no more."""
    made = binary(folder / "listener")
    made.write_text(LISTENER.format(python=sys.executable, host=host))
    return made


networked = functools.partial(with_prism, has_others=lambda: True)
"""As on a machine in a network. The tests may run in a network namespace of their own, where nobody is to be reached by."""


def test_a_prism_that_others_can_reach_is_ended(tmp_path: Path) -> None:
    given = [f"--prism_location={listener(tmp_path, '0.0.0.0')}"]
    with (
        pytest.raises(ContractError, match=r"listener listens on all addresses of this machine.* --allow_open_ports"),
        networked(given, print),
    ):
        raise AssertionError("it must not be used")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_it_is_run_where_that_is_allowed_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    with networked([f"--prism_location={listener(tmp_path, '0.0.0.0')}"], said.append, allow_open_ports=True) as arguments:
        assert arguments[-1].startswith("--job_endpoint=127.0.0.1:")
    assert "for anybody" in said[0]


def test_one_that_listens_on_this_machine_only_needs_no_flag(tmp_path: Path) -> None:
    said: list[str] = []
    with networked([f"--prism_location={listener(tmp_path, '127.0.0.1')}"], said.append):
        assert said == []


def test_where_there_are_no_other_addresses_nobody_is_kept_out(tmp_path: Path) -> None:
    with with_prism([f"--prism_location={listener(tmp_path, '0.0.0.0')}"], print, has_others=lambda: False):
        pass


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
