"""The peers' programs, from the registries: Java's by Maven, Bento's by Go; into ``.cache/peers``, once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.setting import BenchmarkError
from tests.kafka_broker import ROOT, BrokerError, install_jars

HERE = Path(__file__).parent
CACHE = ROOT / ".cache" / "peers"
_MINUTES = 15


def java(program: str) -> str:
    """Returns the class path of one of the programs in ``java/``, compiled.

    Raises:
        BenchmarkError: ``java``, ``javac`` or ``mvn`` is missing, or one of them failed.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = HERE / "java" / program
    try:
        jars = install_jars(CACHE / f"{program}-jars", folder / "pom.xml")
    except BrokerError as error:
        raise BenchmarkError(str(error)) from error
    sources = sorted([*folder.glob("*.java"), *(HERE / "java" / "common").glob("*.java")])

    def compile_into(classes: Path) -> None:
        _run(["javac", "-cp", f"{jars}/*", "-d", str(classes), *map(str, sources)], "openjdk-17-jdk-headless")

    return f"{_made(f'{program}-classes', sources, compile_into)}:{jars}/*"


def bento() -> Path:
    """Returns Bento's executable: the fork of Redpanda Connect that is under the MIT licence as a whole.

    Raises:
        BenchmarkError: ``go`` is missing or failed.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = HERE / "bento"

    def build_into(target: Path) -> None:
        _run(["go", "build", "-trimpath", "-o", str(target / "bento"), "."], "golang", folder)

    return _made("bento", [folder / "go.mod", folder / "go.sum", folder / "main.go"], build_into) / "bento"


def _made(name: str, sources: list[Path], make: Callable[[Path], None]) -> Path:
    """Returns the folder that ``make`` fills: it is called if there is none or a source is newer. Safe among processes."""
    folder = CACHE / name
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists() and folder.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
            return folder
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            partial = Path(temporary) / "made"
            partial.mkdir()
            make(partial)
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)  # at once: nobody ever sees half of it
        os.utime(folder)
    return folder


def _run(command: list[str], package: str, folder: Path | None = None) -> None:
    if shutil.which(command[0]) is None:
        raise BenchmarkError(f"{command[0]} is not on the PATH: install it (Debian, Ubuntu: apt-get install {package})")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_MINUTES * 60, check=False)
    if done.returncode:
        raise BenchmarkError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
