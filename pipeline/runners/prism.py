"""``--runner=PrismRunner``: finds or builds Prism's binary, starts it, and sets the options that streaming jobs need.

Prism is Beam's local runner, written in Go. The binary is searched in this order: ``--prism_location`` (a file); the cache
folder; Go, if it is installed. The version that is built is always the same, whatever the Python SDK's version: older ones
lack fixes for streams. Prism is started here and not by Beam, so that it always ends with this process.

Prism listens on all addresses of the machine, does not check who calls, and runs any code that it gets; no option changes
that. So we build it ourselves: its source comes from Go's module proxy and is checked against Go's checksum database. One
line is changed, so that it listens on 127.0.0.1. Beam's release is not downloaded: it listens on all addresses, and its only
known hash comes from the same place as the release. Users who want the release name its file. A binary that other machines
can reach is ended at once, unless ``--allow_open_ports`` is given.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.cli.beam_values import FOREVER_S, beam_value
from transforms.cache import CACHE_VARIABLE, cache_folder
from transforms.child_process import child_server, free_port, has_other_addresses, others_reach
from transforms.errors import ContractError

VERSION = "v2.77.0"
SOURCE = "github.com/apache/beam/sdks/v2"
LISTENS_IN = "go/pkg/beam/runners/prism/internal/jobservices/server.go"
LISTENS = ('net.Listen("tcp", fmt.Sprintf(":%d", port))', 'net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))')
"""The line by which Prism listens, and what we make of it."""

LOCAL = "prism-local"
"""Name of the binary in the cache."""

BUILD_S = 900


@contextlib.contextmanager
def with_prism(
    beam_args: Sequence[str],
    say: Callable[[str], None],
    allow_open_ports: bool = False,
    has_others: Callable[[], bool] = has_other_addresses,
) -> Iterator[tuple[str, ...]]:
    """Runs Prism while the block runs. Yields Beam's arguments with Prism's address and the options for streaming jobs.

    Args:
        beam_args: The user's arguments for Beam. With ``--job_endpoint``, the Prism at that address is used.
        say: Called with messages for the user.
        allow_open_ports: Whether a Prism is run that other machines can reach.
        has_others: Whether this machine has addresses by which other machines could reach it.

    Raises:
        ContractError: No binary is found or built, it does not start, or other machines can reach it.
    """
    defaults = {"job_server_timeout": FOREVER_S, "environment_type": "LOOPBACK"}
    more = [f"--{name}={value}" for name, value in defaults.items() if beam_value(beam_args, name) is None]
    if beam_value(beam_args, "job_endpoint") is not None:
        yield (*beam_args, *more)
        return
    binary = beam_value(beam_args, "prism_location") or find_prism(say)
    if not Path(binary).is_file():
        cure = f"leave it out to have Prism {VERSION} built"
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
        if others_reach(port) and has_others():
            if not allow_open_ports:
                raise ContractError(
                    f"--runner=PrismRunner: {binary} listens on all addresses of this machine, and runs what anybody sends "
                    f"it, as this user; leave --prism_location out to have one built by Go that listens on 127.0.0.1, or "
                    f"close its port to others by a firewall and give --allow_open_ports"
                )
            say(f"Prism listens on all addresses of this machine (port {port}), for anybody: --allow_open_ports")
        yield (*beam_args, *more, f"--job_endpoint=127.0.0.1:{port}")


def find_prism(say: Callable[[str], None], build: Callable[[str, Path], Path] | None = None) -> Path:
    """Returns the path of the binary. Builds it the first time.

    Args:
        say: Called with messages for the user.
        build: Builds it into a folder, or raises ``OSError``.

    Raises:
        ContractError: It can't be built.
    """
    folder = cache_folder() / "prism" / VERSION
    if _runs(folder / LOCAL):
        return folder / LOCAL
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes that start together build it once
        if not _runs(folder / LOCAL):
            _get_prism(folder, say, build)
    return folder / LOCAL


def _runs(binary: Path) -> bool:
    return binary.is_file() and os.access(binary, os.X_OK)


def _get_prism(folder: Path, say: Callable[[str], None], build: Callable[[str, Path], Path] | None) -> None:
    problem = "there is no Go to build Prism with"
    if build is not None or shutil.which("go") is not None:
        say(f"building Prism {VERSION}, Beam's local runner, once, into {folder} (a minute or three)")
        try:
            (build or _build)(VERSION, folder).replace(folder / LOCAL)
            return
        except OSError as error:
            problem = str(error)
    raise ContractError(
        f"--runner=PrismRunner: {problem}; install Go, put a binary that was built elsewhere into {CACHE_VARIABLE}'s "
        f"prism/{VERSION}/{LOCAL}, use --runner=DirectRunner, which needs none, or name a binary by --prism_location=FILE "
        f"(Beam's release, which is not downloaded here, listens on all addresses of the machine: it needs "
        f"--allow_open_ports, too)"
    )


def _build(version: str, folder: Path) -> Path:
    """Builds the binary with Go, from a copy of the source that listens on 127.0.0.1.

    Raises:
        OSError: It can't be built. The message says why.
    """
    module = _go(["mod", "download", "-json", f"{SOURCE}@{version}"], folder)  # checks it against Go's checksum database
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as copy:
        # Files in Go's own cache are read-only, and must not be changed.
        shutil.copytree(json.loads(module)["Dir"], copy, copy_function=shutil.copyfile, dirs_exist_ok=True)
        for path in (Path(copy), *Path(copy).rglob("*/")):
            path.chmod(0o700)
        listen_locally(Path(copy, LISTENS_IN))
        _go(["build", "-o", str(folder / LOCAL), "./go/cmd/prism"], Path(copy))
    return folder / LOCAL


def listen_locally(source: Path) -> None:
    """Changes the line of Prism's source by which it listens.

    Raises:
        OSError: The line is not there once.
    """
    text = source.read_text(encoding="utf-8")
    before, after = LISTENS
    if text.count(before) != 1:
        raise OSError(f"Prism's source is not as it was tested: {before} stands {text.count(before)} times in {source.name}")
    source.write_text(text.replace(before, after), encoding="utf-8")


def _go(arguments: Sequence[str], folder: Path) -> str:
    what = f"go {arguments[0]}"
    try:
        done = subprocess.run(["go", *arguments], cwd=folder, capture_output=True, text=True, timeout=BUILD_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{what} took more than {BUILD_S} s") from error
    if done.returncode:
        raise OSError(f"{what} failed: " + " ".join((done.stderr or done.stdout).splitlines()[-3:]))
    return done.stdout
