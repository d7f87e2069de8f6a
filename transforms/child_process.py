"""Runs a server as a child process: waits until it accepts connections, shows its log if it does not, ends it with us."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from transforms.errors import ContractError
from transforms.retry import Deadline

START_S = 60.0
STOP_S = 5.0
LOG_LINES = 15

_ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """Returns a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def others_reach(port: int) -> bool:
    """Returns whether a server of this machine that listens on 127.0.0.1 listens on other addresses, too.

    On Linux all of 127.0.0.0/8 is this machine, and what answers on 127.0.0.2 listens on all addresses. Elsewhere the
    addresses of the host's name are tried.
    """
    addresses = {"127.0.0.2"} if sys.platform == "linux" else _addresses_of_this_host() - {"127.0.0.1", "::1"}
    for address in addresses:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return True
    return False


def has_other_addresses(tables: Path = Path("/proc/net")) -> bool:
    """Returns whether this machine, or this network namespace of it, has an address beside those of the loopback.

    Args:
        tables: The kernel's tables of addresses. Where there are none, the answer is yes.
    """
    try:
        lines = (tables / "fib_trie").read_text(encoding="ascii").splitlines()
        there = {at.split()[-1] for at, what in itertools.pairwise(lines) if what.split()[:3] == ["/32", "host", "LOCAL"]}
        # IPv6 may be switched off; each line is address, index, length of the prefix, scope, flags, device
        with contextlib.suppress(FileNotFoundError):
            there |= {_ipv6(line) for line in (tables / "if_inet6").read_text(encoding="ascii").splitlines()}
    except OSError:
        return True
    return any(not ipaddress.ip_address(address).is_loopback for address in there)


def _ipv6(line: str) -> str:
    return str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))


def _addresses_of_this_host() -> set[str]:
    with contextlib.suppress(OSError):
        return {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)}
    return set()


def module_command(module: str, *arguments: str) -> list[str]:
    """Returns the command that runs a module of this project, whatever the current folder holds.

    ``-P`` keeps that folder off Python's path: its ``transforms.py`` would be imported in place of ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environ() -> dict[str, str]:
    """Returns the environment for ``module_command``: a checkout that is not installed is found by ``PYTHONPATH``."""
    if str(_ROOT) in sysconfig.get_paths().values():
        return dict(os.environ)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))}


@contextlib.contextmanager
def child_server(command: Sequence[str], port: int, what: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server while the block runs.

    Args:
        command: The server's command line.
        port: The port on this machine that it will listen on.
        what: What error messages call the server.

    Raises:
        ContractError: The server can't be run, ended, or does not listen within a minute. Shows the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="kafka-model-scoring-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as out:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,  # Ctrl-C must reach us only: the server is still needed while we drain
                )
            except OSError as error:
                raise ContractError(f"{what} can't be run: {error}") from error
        # The watcher kills the server if this process dies, even by kill -9: its standard input then ends without a line.
        watcher = subprocess.Popen(
            ["sh", "-c", 'read -r _ || kill -9 "$1"', "sh", str(process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            _wait_until_ready(process, port, what, log)
            yield process
        finally:
            watcher.communicate(b"\n")
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, what: str, log: Path) -> None:
    deadline = Deadline(START_S)
    while not deadline.passed:
        if process.poll() is not None:
            raise ContractError(f"{what} ended (status {process.returncode}):\n{_tail(log)}")
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
            return
        time.sleep(0.1)
    raise ContractError(f"{what} did not start within {START_S:.0f} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
