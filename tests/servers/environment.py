"""Virtual environments for the real model servers: each has pins of its own, which may not go with ours or one another's.

They are made once, by uv, into ``.cache/servers``; several test processes may ask for one at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.kafka_broker import ROOT

FOLDER = Path(os.environ.get("SERVERS_CACHE", ROOT / ".cache" / "servers"))
TIMEOUT_S = 1800
UV = (sys.executable, "-m", "uv")


class ServerInstallError(RuntimeError):
    """A server's packages could not be installed; the message has the end of what uv said."""


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Returns the folder of a virtual environment of Python 3.11 that holds ``requirements``, making it if need be.

    Args:
        name: The server's, for the folder.
        requirements: Exact versions (``mlserver==1.7.1``).

    Raises:
        ServerInstallError: It could not be made.
    """

    def make(folder: Path) -> None:
        _run([*UV, "venv", "--quiet", "--clear", "--python", _python(), str(folder)])
        _run([*UV, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *requirements])

    return _made_once(name, requirements, make)


def added_packages(name: str, requirements: Sequence[str]) -> Path:
    """Returns a folder for ``PYTHONPATH`` that holds packages for this Python, without those that they require.

    For what must not be in the environment of all tests: Beam imports pandas where it is there, which takes 0.7 s at each
    start of a job.

    Args:
        name: For the folder.
        requirements: Exact versions.

    Raises:
        ServerInstallError: It could not be made.
    """

    def make(folder: Path) -> None:
        options = ["--quiet", "--no-deps", "--python", sys.executable, "--target", str(folder)]
        _run([*UV, "pip", "install", *options, *requirements])

    return _made_once(f"{name}-python{sys.version_info.major}.{sys.version_info.minor}", requirements, make)


def _made_once(name: str, requirements: Sequence[str], make: Callable[[Path], None]) -> Path:
    pins = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:8]
    folder = FOLDER / f"{name}-{pins}"
    done = folder / ".complete"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder


def libraries_of(python: Path) -> str:
    """Returns the folder of a Python's own library (``libpython3.11.so``)."""
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _python() -> str:
    """Python 3.11: most of these servers install on no newer one."""
    if platform.python_version_tuple()[:2] == ("3", "11"):
        return sys.executable
    found = subprocess.run([ROOT / ".ci" / "find-python", "3.11"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise ServerInstallError(f"the real servers need Python 3.11: {found.stderr}")
    return found.stdout.strip()


def _run(command: list[str]) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ServerInstallError(f"{command[3]}: not done after {TIMEOUT_S} s") from error
    if ended.returncode:
        raise ServerInstallError(f"{' '.join(command[2:])}: {ended.stderr[-2000:]}")
