"""Processes of ``python -m pipeline`` that need not import Beam first: forks of one process that has.

A start imports for 2 s of a core, most of them Beam's modules, and the tests in this folder start some hundreds. What they
look at comes after that. So each pytest process has one ``python -m tests.integration.preloaded``, which imports what a job
imports, starts nothing, and forks for each start. The fork is what the command would be: a process and a session of its own
with these arguments, this environment and these files, whose ``pipeline/__main__.py`` is run as a program.

What is not tested by forks is the import itself, and what comes before it. ``REAL_STARTS=1`` starts every command anew;
the fixture ``real_starts`` does so for one test; ``tests/docs``, ``tests/deploy`` and ``tests/chaos`` always do.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

MODULES = ("pipeline.score", "pipeline.launch", "pipeline.build", "pipeline.runners.direct", "pipeline.worker")
"""What is imported before the forks: with these comes nearly all that a job imports."""

OURS = "TEST_"
"""How variables begin that only tests name, in values such as ``${TEST_PASSWORD}``: no import reads them."""

ROOT = Path(__file__).parents[2]
LONGEST = 1 << 20
"""Most bytes of a request: arguments and environment."""


class Forked:
    """A forked process, in the manner of ``subprocess.Popen``.

    Attributes:
        pid: Its process id.
        args: What it was started with.
        returncode: Its exit status as Popen has it; ``None`` as long as nobody has asked for it.
    """

    def __init__(self, pid: int, args: Sequence[str], status: int):
        self.pid, self.args = pid, list(args)
        self.returncode: int | None = None
        self._status: int | None = status

    def poll(self) -> int | None:
        """Returns the exit status, ``None`` while it runs."""
        return self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end and returns the exit status.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        status = self._read(timeout)
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Sends it a signal, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _read(self, timeout_s: float | None) -> int | None:
        if self._status is None:
            return self.returncode
        ready, _, _ = select.select([self._status], [], [], timeout_s)
        if not ready:
            return None
        said = os.read(self._status, 16)
        os.close(self._status)
        self._status = None
        if not said:
            raise AssertionError("the process that forks has ended: its children's exit statuses are lost")
        self.returncode = int(said)
        return self.returncode


class Preloaded:
    """Forks commands of the program, from construction to ``close``.

    Attributes:
        pid: The id of the process that forks.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.preloaded", str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # no terminal, as the forks': so Python's buffers are the same
                env=os.environ | {"PYTHONFAULTHANDLER": "1"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.pid, self._socket = self._process.pid, ours

    def start(
        self, module: str, arguments: Sequence[str], environ: Mapping[str, str], stdout: IO[Any], stderr: IO[Any]
    ) -> Forked:
        """Starts ``python -m MODULE ARGUMENTS`` in a session of its own, in the repository's folder."""
        readable, writable = os.pipe()
        request = json.dumps({"module": module, "arguments": list(arguments), "environ": dict(environ)}).encode()
        try:
            with self._lock:
                files = [stdout.fileno(), stderr.fileno(), writable]
                socket.send_fds(self._socket, [len(request).to_bytes(4, "big")], files)
                self._socket.sendall(request)
                pid = int.from_bytes(_received(self._socket, 4), "big")
        except OSError:
            os.close(readable)
            raise
        finally:
            os.close(writable)
        return Forked(pid, [sys.executable, "-m", module, *arguments], readable)

    def close(self) -> None:
        """Ends the process that forks. Forks that still run go on, as processes do whose parent has ended."""
        self._socket.close()
        self._process.wait()


_preloaded: list[Preloaded] = []
_forking = False
_first = threading.Lock()


@contextlib.contextmanager
def forks(wanted: bool) -> Iterator[None]:
    """Within the block, ``start`` forks, or does not."""
    global _forking
    before, _forking = _forking, wanted and not os.environ.get("REAL_STARTS")
    try:
        yield
    finally:
        _forking = before


def start(
    module: str, arguments: Sequence[str], stdout: IO[Any], stderr: IO[Any], environ: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes] | Forked:
    """Starts ``python -m MODULE ARGUMENTS`` without standard input, in a session of its own.

    Args:
        module: What to run.
        arguments: Its command line.
        stdout: A file for what it prints.
        stderr: A file for its errors.
        environ: Variables beside those of this process. With any but the tests' own (``TEST_…``), the process is started
            anew: what reads them may be something that is imported.
    """
    variables = {**os.environ, "PYTHONFAULTHANDLER": "1", **(environ or {})}
    if _forking and all(name.startswith(OURS) for name in environ or ()):
        with _first:
            if not _preloaded:
                _preloaded.append(Preloaded())
                atexit.register(_preloaded[0].close)
        return _preloaded[0].start(module, arguments, variables, stdout, stderr)
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=variables,
        start_new_session=True,  # a Ctrl-C for pytest is not for it
    )


def _received(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionError("the process that forks has ended: see what it has printed to standard error")
        found += part
    return found


class _Server:
    """The process that forks: one thread, which waits for requests and for children's ends."""

    def __init__(self, connection: socket.socket):
        self._connection, self._statuses = connection, dict[int, int]()
        self._woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._ours = (connection.fileno(), self._woken, wakes)

    def run(self) -> None:
        """Serves until the other end is closed."""
        while True:
            ready, _, _ = select.select([self._connection.fileno(), self._woken], [], [])
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            self._tell()
            if self._connection.fileno() in ready:
                size, files, _, _ = socket.recv_fds(self._connection, 4, 3)
                if not size:
                    return
                request = json.loads(_received(self._connection, int.from_bytes(size, "big")))
                pid = self._fork(request, files)
                self._statuses[pid] = files[2]
                for file in files[:2]:
                    os.close(file)
                self._connection.sendall(pid.to_bytes(4, "big"))

    def _tell(self) -> None:
        """Tells the exit statuses of all that have ended."""
        while self._statuses:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            to = self._statuses.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
                os.write(to, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(to)

    def _fork(self, request: dict[str, Any], files: list[int]) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of jemalloc and OpenBLAS, which know of forks
            pid = os.fork()
        if pid:
            return pid
        try:
            self._become(request, files)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:  # noqa: BLE001  # as Python itself does at the end of a program
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def _become(self, request: dict[str, Any], files: list[int]) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        for file in (*self._ours, *files, *self._statuses.values()):
            os.close(file)
        os.environ.clear()
        os.environ.update(request["environ"])
        module = request["module"]
        sys.argv = [module, *request["arguments"]]  # run_module puts the file's name there
        gc.unfreeze()
        gc.enable()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        raise SystemExit(0)


def main() -> None:
    """Serves the connection whose file descriptor is the first argument."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for module in MODULES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # or each fork's first collection would copy all pages
    _Server(connection).run()


if __name__ == "__main__":
    main()
