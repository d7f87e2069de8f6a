"""Key presses: which are seen, that no other input is read, and that the terminal is what it was on every way out."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from pipeline.reporting.keys import Keys
from tests.processes import ended

ROOT = Path(__file__).parents[3]
WAIT_S = 60.0


class Terminal:
    """A pseudo-terminal. ``keyboard`` is the side of the person, ``stream`` that of the program."""

    def __init__(self) -> None:
        self.keyboard, self._program = pty.openpty()
        self.stream: TextIO = os.fdopen(self._program, "r")

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._program)

    def type(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    opened = Terminal()
    yield opened
    opened.stream.close()
    os.close(opened.keyboard)


def test_keys_are_seen_at_once_and_ctrl_c_is_still_a_signal(terminal: Terminal) -> None:
    before, keys = terminal.modes, Keys(terminal.stream)
    assert keys.pressed() == "", "nothing is taken yet"
    with keys.taken():
        assert keys.here
        local = terminal.modes[3]
        assert not local & (termios.ICANON | termios.ECHO)
        assert local & termios.ISIG
        assert terminal.modes[:3] == before[:3], "what is printed looks as before"
        terminal.type(b"pq")
        assert keys.pressed() == "pq"
        assert keys.pressed() == ""
        terminal.type(b"\x1b[15~p")
        assert keys.pressed() == "", "a function key holds letters"
    assert terminal.modes == before
    terminal.type(b"p\n")
    assert keys.pressed() == ""
    assert terminal.stream.readline() == "p\n", "what is typed afterwards is for others"


def test_an_exception_puts_the_terminal_back(terminal: Terminal) -> None:
    before = terminal.modes
    with pytest.raises(RuntimeError), Keys(terminal.stream).taken():
        raise RuntimeError
    assert terminal.modes == before


def test_a_handler_may_put_it_back_before_the_end_does(terminal: Terminal) -> None:
    before, keys = terminal.modes, Keys(terminal.stream)
    with keys.taken():
        keys.put_back()
        assert terminal.modes == before
        assert keys.pressed() == "", "it is not taken again by itself"
        assert terminal.modes == before
    assert terminal.modes == before


def test_what_is_no_terminal_is_never_read() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "r") as stream, os.fdopen(writing, "w") as other:
        other.write("p")
        other.flush()
        keys = Keys(stream)
        with keys.taken():
            assert not keys.here
            assert keys.pressed() == ""
        assert os.read(stream.fileno(), 1) == b"p"


def test_no_standard_input_at_all() -> None:
    closed = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    closed.close()
    for stream in (None, closed):
        with Keys(stream).taken():
            assert Keys(stream).pressed() == ""


def test_a_terminal_that_hangs_up_is_no_error() -> None:
    opened = Terminal()
    keys = Keys(opened.stream)
    with keys.taken():
        os.close(opened.keyboard)
        assert keys.pressed() == ""
    opened.stream.close()


class Shell:
    """A small shell in a terminal of its own, which runs one job with the live status."""

    def __init__(self, *how: str):
        self.keyboard, program = pty.openpty()
        environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.reporting.small_shell", *how],
            stdin=program,
            stdout=program,
            stderr=program,
            start_new_session=True,
            cwd=ROOT,
            env=environ,
        )
        os.close(program)
        self.said = self.everything = ""
        self.job = int(self.until("job ").split()[0])

    def until(self, text: str) -> str:
        """Reads until ``text`` and the end of its line; returns what stands behind it on the line."""
        ends_at = time.monotonic() + WAIT_S
        while "\n" not in self.said.partition(text)[2]:
            assert select.select([self.keyboard], [], [], max(0.0, ends_at - time.monotonic()))[0], self.said
            try:
                read = os.read(self.keyboard, 65536)
            except OSError:  # the shell has ended
                raise AssertionError(self.said) from None
            came = read.decode("utf-8", "ignore")
            self.everything += came
            self.said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.said + came)
        line, self.said = self.said.partition(text)[2].split("\n", 1)
        return line.strip()

    def type(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it runs on if the test has failed
            os.kill(self.job, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        os.close(self.keyboard)


def ends(*how: str, keys: bytes = b"", sent: int | None = None, again: bool = False) -> str:
    """What the shell says of a job's end, to which keys and a signal were sent once its status was drawn."""
    shell = Shell(*how)
    try:
        shell.until("ready")
        shell.type(keys)
        if sent is not None:
            os.kill(shell.job, sent)
        if again:
            shell.until("draining")
            os.kill(shell.job, signal.SIGTERM)
        return shell.until("ended: ")
    finally:
        shell.close()


@pytest.mark.parametrize(
    ("how", "keys", "sent", "again", "status"),
    [
        ("drains", b"", signal.SIGTERM, False, 0),
        ("drains", b"\x03", None, False, 0),
        ("stays", b"\x03", None, True, 128 + signal.SIGTERM),  # the second signal ends it at once
        ("raises", b"\x03", None, False, 1),
        ("starts", b"\x03", None, False, 7),  # its handlers are those of the time before the job
        ("drains", b"\x1c", None, False, -signal.SIGQUIT),
        ("drains", b"", signal.SIGHUP, False, -signal.SIGHUP),
    ],
)
def test_the_terminal_is_what_it_was(how: str, keys: bytes, sent: int | None, again: bool, status: int) -> None:
    assert ends(how, keys=keys, sent=sent, again=again) == f"status {status}, terminal as before: True"


def test_a_key_shows_the_partitions_and_ctrl_z_gives_the_terminal_to_the_shell() -> None:
    shell = Shell("drains")
    try:
        shell.until("p: to go by partition")
        shell.type(b"p")
        assert shell.until("to go by partition, the most first") == ""
        assert shell.until("orders/3   77") is not None
        shell.type(b"\x1a")
        assert shell.until("stopped: ") == "terminal as before: True"
        shell.type(b"p")  # the shell has made it go on in the foreground
        shell.until("p: to go by partition")
        since = shell.everything.partition("stopped: ")[2]
        drawn = re.search(r"\x1b\[\?25l(?P<room>[\r\n]+)\r\x1b\[2K(?P<up>(?:\x1b\[1A\x1b\[2K)+)", since)
        assert drawn is not None, repr(since)
        assert drawn["room"].count("\n") == drawn["up"].count("A") > 3, "what the shell has written is not drawn over"
        shell.type(b"\x03")
        assert shell.until("ended: ") == "status 0, terminal as before: True"
    finally:
        shell.close()


def test_a_terminal_that_stands_still_holds_no_signal_up() -> None:
    shell = Shell("stays")
    try:
        shell.until("ready")
        shell.type(b"\x13")
        os.kill(shell.job, signal.SIGTERM)
        os.kill(shell.job, signal.SIGINT)
        assert ended([shell.job], WAIT_S)
        shell.type(b"\x11")
        assert re.fullmatch(r"status 1(30|43), terminal as before: True", shell.until("ended: "))
    finally:
        shell.close()


def test_a_job_in_the_background_leaves_the_terminal_alone() -> None:
    """Else the kernel would stop it, or the shell would lose its keys."""
    shell = Shell("drains", "&")
    try:
        shell.until("ready")
        assert termios.tcgetattr(shell.keyboard)[3] & termios.ECHO, "the shell's modes are not changed meanwhile either"
        shell.type(b"p\n")
        shell.until("connecting to Kafka")
        os.kill(shell.job, signal.SIGTERM)
        assert shell.until("ended: ") == "status 0, terminal as before: True"
        assert "stopped: " not in shell.everything
        assert "to go by partition, the most" not in shell.everything
    finally:
        shell.close()
