"""``--runner=PrismRunner``: finds or builds Prism's binary, starts it, and sets the options that streaming jobs need.

Prism is Beam's local runner, written in Go. The binary is searched in this order: ``--prism_location`` (a file); the cache
folder; Beam's release on GitHub, by Beam's own downloader; ``go install``, if Go is installed. The version is always the
same, whatever the Python SDK's version: older ones lack fixes for streams. We start Prism instead of Beam, so that it always
ends with this process. It listens on all addresses of the machine; it has no option to change that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.cli.beam_values import FOREVER_S, beam_value
from transforms.cache import CACHE_VARIABLE, cache_folder
from transforms.child_process import child_server, free_port
from transforms.errors import ContractError

VERSION = "v2.77.0"
PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
BUILD_S = 900
ANSWER_S = 10.0


@contextlib.contextmanager
def with_prism(beam_args: Sequence[str], say: Callable[[str], None]) -> Iterator[tuple[str, ...]]:
    """Runs Prism while the block runs. Yields Beam's arguments with Prism's address and the options for streaming jobs.

    Args:
        beam_args: The user's arguments for Beam. With ``--job_endpoint``, the Prism at that address is used.
        say: Called with messages for the user.

    Raises:
        ContractError: No binary is found, downloaded or built, or it does not start.
    """
    defaults = {"job_server_timeout": FOREVER_S, "environment_type": "LOOPBACK"}
    more = [f"--{name}={value}" for name, value in defaults.items() if beam_value(beam_args, name) is None]
    if beam_value(beam_args, "job_endpoint") is not None:
        yield (*beam_args, *more)
        return
    binary = beam_value(beam_args, "prism_location") or find_prism(say)
    if not Path(binary).is_file():
        cure = f"leave it out to have Prism {VERSION} downloaded or built"
        raise ContractError(f"--prism_location={binary}: no such file; {cure}")
    port = free_port()
    command = [
        str(binary),
        f"--job_port={port}",
        "--serve_http=false",
        f"--log_level={beam_value(beam_args, 'prism_log_level') or 'warn'}",
        "--log_kind=text",
    ]
    with child_server(command, port, "--runner=PrismRunner: Prism"):
        yield (*beam_args, *more, f"--job_endpoint=localhost:{port}")


def find_prism(
    say: Callable[[str], None],
    download: Callable[[str, Path], Path] | None = None,
    build: Callable[[str, Path], Path] | None = None,
) -> Path:
    """Returns the path of the binary. Downloads or builds it the first time.

    Args:
        say: Called with messages for the user.
        download: Downloads it from GitHub into a folder, or raises ``OSError``, ``RuntimeError`` or ``ValueError``.
        build: Builds it into a folder, or raises ``OSError``.

    Raises:
        ContractError: It can be neither downloaded nor built.
    """
    folder = cache_folder() / "prism" / VERSION
    binary = folder / "prism"
    if binary.is_file() and os.access(binary, os.X_OK):
        return binary
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes that start together get it once
        return binary if binary.is_file() else _get_prism(folder, say, download, build)


def _get_prism(
    folder: Path,
    say: Callable[[str], None],
    download: Callable[[str, Path], Path] | None,
    build: Callable[[str, Path], Path] | None,
) -> Path:
    say(f"getting Prism {VERSION}, Beam's local runner, once, into {folder}")
    try:
        found = (download or _download)(VERSION, folder)
    except (OSError, RuntimeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    else:
        return found.rename(folder / "prism")
    if shutil.which("go") is None and build is None:
        raise ContractError(_cures(f"Beam's release can't be downloaded ({problem}), and there is no Go to build it with"))
    say(f"Beam's release can't be downloaded; building it by go install {PACKAGE}@{VERSION} (a minute or three)")
    try:
        return (build or _build)(VERSION, folder)
    except OSError as error:
        raise ContractError(_cures(f"Beam's release can't be downloaded ({problem}), and {error}")) from error


def _cures(what: str) -> str:
    return (
        f"--runner=PrismRunner: {what}; name a binary by --prism_location=FILE, put one into {CACHE_VARIABLE}'s "
        f"prism/{VERSION}/prism, or use --runner=DirectRunner, which needs none"
    )


def _download(version: str, folder: Path) -> Path:
    from apache_beam.runners.portability.prism_runner import PrismJobServer

    url = PrismJobServer._construct_download_url(version, version, platform.system(), platform.machine())
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(ANSWER_S)  # Beam's downloader has no time-out: behind a firewall it would wait for ever
    try:
        return Path(PrismJobServer.local_bin(url, str(folder)))
    finally:
        socket.setdefaulttimeout(before)


def _build(version: str, folder: Path) -> Path:
    """Builds the binary with Go.

    Raises:
        OSError: The build failed. The message says why.
    """
    command = ["go", "install", f"{PACKAGE}@{version}"]
    try:
        done = subprocess.run(
            command, env={**os.environ, "GOBIN": str(folder)}, capture_output=True, text=True, timeout=BUILD_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"go install took more than {BUILD_S} s") from error
    if done.returncode:
        raise OSError("go install failed: " + " ".join(done.stderr.splitlines()[-3:]))
    return folder / "prism"
