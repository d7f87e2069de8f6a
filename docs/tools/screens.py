"""The screens of the terminal in ``docs/how-to/terminal.md``, of real runs in tmux: ``python -m docs.tools.screens``.

It runs the demo in a terminal of 80 × 24, and a job on a real Apache Kafka in one of 120 × 40. What tmux shows goes between
``<!-- screen: NAME -->`` and ``<!-- end -->``. The figures are those of this machine. It takes a minute or two, and needs
tmux (``apt-get install tmux``) and, for Kafka, Java and Maven (as ``make kafka``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import PIPE

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "terminal.md"
PART = re.compile(r"(?P<begin><!-- screen: (?P<name>[\w ]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
SMALL, LARGE = (80, 24), (120, 40)
SIZES = {"start": SMALL, "demo": SMALL, "kafka": LARGE, "partitions": LARGE}
"""Name of a screen to the columns and lines of its terminal."""

RUN = "python -m pipeline --runner=DirectRunner"
TOPIC, PARTITIONS, COPIES = "digits", 48, 30
"""What is read from Kafka: the 1,797 digits and 20 broken records, so many times."""

WAIT_S = 100.0
LOOK_S = 0.1


class Terminal:
    """A terminal in tmux with a shell, which finds this Python as ``python``.

    Args:
        folder: Where tmux has its socket.
        size: Columns and lines.
    """

    def __init__(self, folder: Path, size: tuple[int, int]):
        columns, lines = map(str, size)
        self._tmux = ("tmux", "-S", str(folder / "tmux"), "-f", os.devnull)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environ = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
        command = (*self._tmux, "new-session", "-d", "-x", columns, "-y", lines, "PS1='$ ' bash --norc --noprofile")
        subprocess.run(command, check=True, cwd=ROOT, env=environ)

    def type(self, *keys: str) -> None:
        """Types keys, by tmux's names: ``Enter``, ``C-c``, or the text itself."""
        subprocess.run((*self._tmux, "send-keys", *keys), check=True)

    def screen(self) -> str:
        """Returns what is on the screen, without blanks at the ends of its lines and of itself."""
        shown = subprocess.run((*self._tmux, "capture-pane", "-p"), check=True, capture_output=True, text=True).stdout
        return "\n".join(line.rstrip() for line in shown.splitlines()).rstrip()

    def until(self, wanted: Callable[[str], bool]) -> str:
        """Waits for a screen, and returns it.

        Raises:
            TimeoutError: It did not come; the message has what there was in its place.
        """
        ends_at = time.monotonic() + WAIT_S
        while not wanted(screen := self.screen()):
            if time.monotonic() > ends_at:
                raise TimeoutError(f"after {WAIT_S:.0f} s the screen is\n{screen}")
            time.sleep(LOOK_S)
        return screen

    def close(self) -> None:
        """Ends the terminal, and what runs in it."""
        subprocess.run((*self._tmux, "kill-server"), check=True)


@dataclasses.dataclass(frozen=True)
class Servers:
    """What the job on Kafka talks to, as ``HOST:PORT``."""

    kafka: str
    model: str


def taken() -> Iterator[tuple[str, str]]:
    """Yields the name and the text of each screen."""
    with _terminal(SMALL) as terminal:
        terminal.type(f"{RUN} --workers=2", "Enter")
        yield "start", terminal.until(_has("workers to start", "workers: process"))
        yield "demo", terminal.until(lambda screen: "Tombstone" in screen and screen.count("  right") >= 6)
        _ended(terminal)
    with _servers() as servers, _terminal(LARGE) as terminal:
        flags = (
            f"--bootstrap_servers={servers.kafka} --model=grpc://{servers.model}/digits",
            f"--input_topic={TOPIC} --output_topic={TOPIC}.predictions --create_topics --workers=2",
        )
        terminal.type(f"{RUN} " + " \\\n  ".join(flags), "Enter")
        yield "kafka", terminal.until(_has("scoring", "Rejected", "Tombstone", "to go by partition: ", "about "))
        terminal.type("p")
        yield "partitions", terminal.until(_has("to go by partition, the most first", "p: "))
        _ended(terminal)


def renewed(page: str, screens: Mapping[str, str]) -> str:
    """Returns the page with these screens in their places."""
    return PART.sub(lambda part: f"{part['begin']}\n```text\n{screens[part['name']]}\n```\n\n{part['end']}", page)


def main() -> None:
    """Takes all screens, and writes them into the page."""
    page = PAGE.read_text(encoding="utf-8")
    screens = {}
    for name, screen in taken():
        print(f"{name}\n{screen}\n", flush=True)
        screens[name] = screen
    PAGE.write_text(renewed(page, screens), encoding="utf-8")


def _has(*texts: str) -> Callable[[str], bool]:
    return lambda screen: all(text in screen for text in texts)


def _ended(terminal: Terminal) -> None:
    terminal.type("C-c")
    terminal.until(lambda screen: screen.endswith("\n$"))


@contextlib.contextmanager
def _terminal(size: tuple[int, int]) -> Iterator[Terminal]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="screens-"))
        terminal = stack.enter_context(contextlib.closing(Terminal(Path(folder), size)))
        terminal.until(lambda screen: screen == "$")
        yield terminal


@contextlib.contextmanager
def _servers() -> Iterator[Servers]:
    """A real Apache Kafka with a filled topic, and the embedded model server."""
    from pipeline.embedded.generator import publish_digits
    from tests.kafka_broker import KafkaBroker
    from tests.topics import create_topic

    command = (sys.executable, "-m", "pipeline.embedded", "--grpc_port=0", "--json", "--exit_with_parent")
    with KafkaBroker() as broker, subprocess.Popen(command, stdin=PIPE, stdout=PIPE, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            port = json.loads(server.stdout.readline())["grpc_port"]
            create_topic(broker.bootstrap, TOPIC, PARTITIONS)
            for copy in range(COPIES):
                publish_digits(broker.bootstrap, TOPIC, seed=copy)
            yield Servers(broker.bootstrap, f"127.0.0.1:{port}")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
