"""The command line that the stubs share: ``python -m transforms.testing.NAME_stub``."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable

from transforms.testing.stub_server import StubServer


def parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the flags of every stub: ``--port``, ``--model``, ``--latency_ms``."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--port", type=int, default=0, help="0 takes a free one")
    found.add_argument("--model", default="model", help="the model's name")
    found.add_argument("--latency_ms", type=float, default=0.0, help="what every request takes")
    return found


def serve(flags: argparse.Namespace, make: Callable[[], StubServer]) -> None:
    """Prints the port, serves until SIGINT or SIGTERM, and prints how many predictions were asked for.

    Args:
        flags: The parsed flags.
        make: Makes the stub.
    """
    stub = make()
    stub.faults.latency_s = flags.latency_ms / 1000
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # before the threads start: they inherit it
    with stub:
        print(stub.port, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
        print(f"{stub.faults.requests} requests", flush=True)
