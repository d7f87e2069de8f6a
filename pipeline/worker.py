"""One worker: runs the job in this process, drains on a signal, and ends with a status that says what happened.

``python -m pipeline.worker`` is started by ``process/supervisor.py`` for ``--workers`` above 1, with its order on stdin.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.process.stats import WorkerStats
from transforms.clients.saved_model.store import STORE
from transforms.errors import FencedError, ScoringError
from transforms.observe import set_observer

if TYPE_CHECKING:
    from pipeline.job import Job

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_WRONG = 2
EXIT_FENCED = 3
"""A worker that was fenced must not be started again: somebody else has its place."""

SWITCH_INTERVAL_S = 0.001
"""How long the bundle's thread may keep the interpreter from the one that commits."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What a worker process is told."""

    job: Job
    runner: str
    beam_args: tuple[str, ...]
    stats_file: Path
    index: int
    workers: int


GC_THRESHOLDS = (500_000, 20, 100)
"""Net new objects before a young collection, and how many of those before an older one. A large bundle has fewer: none of
its records could be collected, however often they are looked at. What can be, is collected between bundles."""

COLLECT_S = 2.0
"""How often, at most, that is done."""


class Stats(WorkerStats):
    """Also keeps the error that ends the job: Beam's engine keeps only its text; and collects garbage between bundles."""

    error: ScoringError | None = None
    _collected_at = 0.0

    def failed(self, error: ScoringError) -> None:
        """As ``Observer.failed``."""
        self.error = error

    def committed(
        self, predictions: int, dead_letters: Mapping[str, int], latencies_ms: Sequence[tuple[float, int]]
    ) -> None:
        """As ``Observer.committed``."""
        super().committed(predictions, dead_letters, latencies_ms)
        if time.monotonic() - self._collected_at > COLLECT_S:
            self._collected_at = time.monotonic()
            gc.collect(1)


def run(job: Job, runner: str, beam_args: tuple[str, ...], stats: Stats) -> int:
    """Runs the job in this process.

    Returns:
        The exit status.
    """
    from pipeline.cli.names import DIRECT
    from pipeline.runners import direct
    from transforms.kafka.native.sessions import close_sessions

    set_observer(stats)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    spare_the_collector()
    try:
        if runner in DIRECT:
            direct.run(job, beam_args)
        else:
            from pipeline.runners import portable

            portable.run(job, runner, beam_args)
        close_sessions()
    except Exception as error:  # noqa: BLE001  # Beam raises RuntimeError with the trace as its text
        if stats.error is None:
            logging.getLogger("pipeline").error("the pipeline failed: %s", error)
        else:
            print(f"error: {stats.error}", file=sys.stderr, flush=True)
        with contextlib.suppress(Exception):  # the failure is told already; a session that can't be closed times out
            close_sessions()
        return EXIT_FENCED if isinstance(stats.error, FencedError) else EXIT_FAILED
    finally:
        STORE.close()  # models in this process, and the local copies of their files
    return EXIT_DONE


def spare_the_collector() -> None:
    """Keeps the cyclic garbage collector from walking over all of Beam again and again.

    Records are tuples without cycles, freed by their reference counts; but a bundle of them is many new objects, and every
    few hundred would start a collection. Measured: 47,000 to 65,000 records/s with frozen modules and a threshold of 50,000,
    then 88,000 to 101,000 with one that a bundle does not reach.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def drain_on_signals(on_first: Callable[[], None]) -> None:
    """The first SIGINT or SIGTERM drains; a second one ends the process at once."""
    seen = threading.Event()

    def handle(number: int, _: object) -> None:
        if seen.is_set():
            os._exit(128 + number)  # what is in flight was never committed: it is read again next time
        seen.set()
        on_first()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def end_with_parent() -> None:
    """Lets the kernel drain this process when its parent dies (Linux)."""
    if sys.platform == "linux":
        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGTERM)


def quiet_logging() -> None:
    """Warnings and errors only, a line each; Beam and librdkafka tell more than a person wants."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else every connection that a model server closes is a line
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # a failed stage is told by us, once
    librdkafka = logging.getLogger("transforms.kafka.librdkafka")
    # What it calls errors are mostly retries and rolled-back transactions under way; what stops the job we say ourselves.
    librdkafka.setLevel(logging.CRITICAL)


def main() -> int:
    """Takes an ``Order`` from standard input and carries it out."""
    end_with_parent()
    quiet_logging()
    from transforms.kafka.stop import request_drain

    drain_on_signals(request_drain)
    order: Order = pickle.loads(sys.stdin.buffer.read())  # noqa: S301  # from our own parent
    stats = Stats(order.stats_file, order.index, order.workers)
    return run(order.job, order.runner, order.beam_args, stats)


if __name__ == "__main__":
    sys.exit(main())
