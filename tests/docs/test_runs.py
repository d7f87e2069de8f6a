"""The commands of the README and of the tutorials, run as printed: against the real Kafka and real model servers.

Each prints what the document says, numbers aside. ``<!-- runs on, until: TEXT -->``: the command goes on beside the others
once it has printed that. ``test_commands.py`` says which blocks are run here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.docs.pages import COMMANDS, FURTHER_TUTORIALS, README, ROOT, TUTORIAL, Block, blocks, command_blocks
from tests.kafka_broker import free_ports, install
from tests.suite import outside_make

PORTS = ("9092", "8500", "8600", "8080", "8081", "8082")
"""Those that the pages name."""


def plain(text: str) -> str:
    """A line of output without what differs from run to run: numbers, names of temporary files, widths of columns."""
    text = re.sub(r"/tmp/\S+", "/tmp/#", text)
    return re.sub(r"\s+", " ", re.sub(r"\d+(?:[.,]\d+)*", "#", text)).strip()


def assert_printed(block: Block, output: str) -> None:
    """The document's lines of output came, in this order; others may have come between them.

    Lines that are alike and follow one another, such as those of progress, count once: how many there are is the machine's.
    ``…`` at a line's end stands for the rest of it.
    """
    lines = iter([plain(line) for line in output.splitlines()])
    for line, _ in itertools.groupby(map(plain, block.output())):
        start = line.removesuffix("…")
        there = (it.startswith(start) if start != line else it == line for it in lines)
        assert any(there), f"{block} did not print {line!r}. It printed:\n{output}"


class Reader:
    """Somebody who follows a page: a home folder of their own, in it the repository, and terminals.

    Args:
        home: The folder.
    """

    def __init__(self, home: Path):
        self._home = home
        self._folder = str(home)
        self._ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        repository, tools = home / "kafka-model-scoring", home / "tools"
        repository.mkdir()
        tools.mkdir()
        for path in ROOT.iterdir():
            if path.name not in (".venv", "build") and path.suffix != ".egg-info":  # what a build would write through a link
                (repository / path.name).symlink_to(path)
        (repository / ".venv").symlink_to(sys.prefix)
        make = tools / "make"  # the environment is there: a test must not install anything anew
        stamps = " ".join(f"-o .venv/.{stamp}" for stamp in ("uv", "installed", "installed-dev"))
        make.write_text(f'#!/bin/sh\nexec /usr/bin/env PATH="$ORIGINAL_PATH" make {stamps} "$@"\n')
        make.chmod(0o755)
        programs = os.environ["PATH"]
        own = {"HOME": str(home), "PATH": f"{tools}:{programs}", "ORIGINAL_PATH": programs}
        self._environment: dict[str, str] = outside_make() | own
        self._running: list[subprocess.Popen[str]] = []

    def own(self, text: str) -> str:
        """The text of a page with ports that nobody else uses."""
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: self._ports[match[0]], text)

    def save(self, block: Block) -> None:
        """Saves a file as the page says."""
        (Path(self._folder) / block.title).write_text(self.own(block.text) + "\n", encoding="utf-8")

    def run(self, block: Block, timeout_s: float = 500) -> str:
        """Runs the commands of a block; the folder and the environment stay for the next one. Returns what is printed."""
        state = self._home / "state"
        script = "\n".join(
            [*self._before(), self.own("\n".join(block.commands())), f'pwd > "{state}"; export -p >> "{state}"']
        )
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{done.stdout}"
        self._folder = state.read_text(encoding="utf-8").splitlines()[0]
        return done.stdout

    def start(self, block: Block, timeout_s: float = 300) -> str:
        """Runs the commands of a block in a terminal of their own, until the text of its mark is printed."""
        log = self._home / f"terminal-{len(self._running)}"
        with log.open("w") as output:
            script = self.own("\n".join(block.commands()))
            process = subprocess.Popen(
                ["bash", "-e", "-c", script],
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env=self._environment,
                cwd=self._home,
                start_new_session=True,
            )
        self._running.append(process)
        deadline = time.monotonic() + timeout_s
        while block.mark not in (printed := log.read_text()):
            assert process.poll() is None, f"{block} ended with {process.returncode}:\n{printed}"
            assert time.monotonic() < deadline, f"{block} did not print {block.mark!r}:\n{printed}"
            time.sleep(0.1)
        return printed

    def close(self) -> None:
        """Ends what runs on, as Ctrl-C in its terminal does."""
        for process in reversed(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _before(self) -> Sequence[str]:
        state = self._home / "state"
        return [f'source <(tail -n +2 "{state}")'] * state.exists() + [f"cd {shlex.quote(self._folder)}"]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with contextlib.closing(Reader(tmp_path)) as someone:
        yield someone


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who has followed the first tutorial, whose Kafka and model server the others go on with."""
    install()
    with contextlib.closing(Reader(tmp_path_factory.mktemp("reader"))) as someone:
        follow(TUTORIAL, someone)
        yield someone


def follow(page: str, reader: Reader) -> None:
    """From an empty folder to what the page promises, exactly as printed; only the ports are others."""
    for block in blocks(page):
        if block.title:
            reader.save(block)
        elif block.language in COMMANDS and block.kind == "":
            assert_printed(block, reader.run(block))
        elif block.kind == "runs on, until":
            assert_printed(block, reader.start(block))


def test_what_differs_from_run_to_run_is_left_out_of_the_comparison() -> None:
    assert plain("  records/s   8,419.5 (p50 8.2 ms)") == plain("  records/s 12 (p50 1 ms)")
    assert plain("0 dead letters") != plain("0 predictions")
    block = Block("page", 1, "console", "", "", "", "$ one \\\n    two\nfirst 1\n…\nlast 2")
    assert (block.commands(), block.output()) == (["one \\\n    two"], ["first 1", "last 2"])
    assert_printed(block, "noise\nfirst 5\nnoise\nlast 7")
    with pytest.raises(AssertionError):
        assert_printed(block, "last 7\nfirst 5")
    cut = Block("page", 1, "console", "", "", "", "$ one\nthe start …")
    assert_printed(cut, "the start and the rest")
    with pytest.raises(AssertionError):
        assert_printed(cut, "not the start")


@pytest.mark.timeout(1200)
def test_the_tutorial(tutorial: Reader) -> None:
    """The fixture has followed it."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", FURTHER_TUTORIALS)
def test_a_further_tutorial(page: str, tutorial: Reader) -> None:
    follow(page, tutorial)


@pytest.mark.timeout(300)
def test_the_readme(reader: Reader) -> None:
    """The demo, as the README prints it."""
    to_run = [block for block in command_blocks(README) if block.kind == ""]
    assert [block.commands() for block in to_run] == [["make demo"]]
    reader.run(Block(README, 0, "console", "", "", "", "$ cd ~/kafka-model-scoring"))
    assert_printed(to_run[0], reader.run(to_run[0]))
