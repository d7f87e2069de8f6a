"""One worker: runs the job in this process, drains it on a signal, and returns the exit status.

With ``--workers`` above 1, ``process/supervisor.py`` starts ``python -m pipeline.worker`` and sends its order to stdin.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.process.garbage import Collecting, rest_while_loading, spare_the_collector
from pipeline.process.logs import log_to_stderr
from pipeline.process.order import EXIT_DONE, EXIT_FAILED, EXIT_FENCED, EXIT_WRONG, Order
from pipeline.process.signals import drain_on_signals, end_with_parent
from pipeline.process.stats import WorkerStats
from pipeline.process.switching import switch_often
from pipeline.telemetry.tracing import traced
from pipeline.terminal import quiet_grpc, tell_error
from transforms.clients.saved_model.store import STORE
from transforms.errors import FencedError, MissingRightError, ScoringError
from transforms.observe import DeadLetterKind, set_observer

if TYPE_CHECKING:
    from pipeline.job import Job


class Stats(WorkerStats):
    """The worker's observer: counts, keeps the error that ends the job, and collects garbage between bundles.

    Beam's runners keep only the text of the error.
    """

    def __init__(self, path: Path | None = None, worker: int = 0, workers: int = 1):
        super().__init__(path, worker, workers)
        self.error: ScoringError | None = None
        self._collecting = Collecting()

    def failed(self, error: ScoringError) -> None:
        """As ``Observer.failed``."""
        self.error = error

    def committed(
        self, predictions: int, dead_letters: Mapping[DeadLetterKind, int], latencies_s: Sequence[tuple[float, int]]
    ) -> None:
        """As ``Observer.committed``."""
        super().committed(predictions, dead_letters, latencies_s)
        self._collecting.between_bundles()


def run(job: Job, runner: str, beam_args: tuple[str, ...], stats: Stats) -> int:
    """Runs the job in this process.

    Returns:
        The exit status.
    """
    from pipeline.cli.names import DIRECT
    from pipeline.runners import direct
    from transforms.kafka.native.sessions import close_sessions

    set_observer(stats)
    switch_often()
    spare_the_collector()
    try:
        if any(name == "debug" for name, _ in job.kafka.properties):
            show_librdkafka()
        with traced(dataclasses.replace(job.telemetry, instance=job.kafka.instance_id)):
            if runner in DIRECT:
                direct.run(job, beam_args)
            else:
                from pipeline.runners import portable

                portable.run(job, runner, beam_args)
            close_sessions()
    except Exception as error:  # noqa: BLE001  # Beam raises RuntimeError with the trace as its text
        if stats.error is None and isinstance(error, ScoringError):  # raised before anything was read
            tell_error(error)
        elif stats.error is None:
            logging.getLogger("pipeline").error("the pipeline failed: %s", error)
        else:
            tell_error(stats.error)
        with contextlib.suppress(Exception):  # the failure is reported already; a session that is not closed times out
            close_sessions()
        ends: dict[type[Exception], int] = {FencedError: EXIT_FENCED, MissingRightError: EXIT_WRONG}
        return next((status for kind, status in ends.items() if isinstance(stats.error or error, kind)), EXIT_FAILED)
    finally:
        STORE.close()  # models in this process, and the local copies of their files
    return EXIT_DONE


def quiet_logging() -> None:
    """Limits logs to our warnings and errors, one line each."""
    log_to_stderr()
    quiet_grpc()
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # we report a failed stage ourselves, once
    # librdkafka logs retries and rolled-back transactions as errors, and as critical that a producer was fenced, also where
    # the job goes on with a new one. Its calls raise the same errors, and we report those that stop the job.
    _librdkafka().setLevel(logging.CRITICAL + 1)


def show_librdkafka() -> None:
    """Shows what librdkafka logs, all of it: ``--kafka_config=debug=protocol`` or the like asks for it."""
    _librdkafka().setLevel(logging.DEBUG)


def _librdkafka() -> logging.Logger:
    return logging.getLogger("transforms.kafka.librdkafka")


def main() -> int:
    """Takes an ``Order`` from standard input and carries it out. Returns the exit status."""
    if len(sys.argv) > 1 or sys.stdin.isatty():
        return _not_for_people(sys.argv[1:])
    rest_while_loading()
    end_with_parent()
    quiet_logging()
    from transforms.kafka.stop import request_drain

    drain_on_signals(request_drain)
    if not (ordered := sys.stdin.buffer.read()):
        return _not_for_people(())
    order: Order = pickle.loads(ordered)  # noqa: S301  # from our own parent
    stats = Stats(order.stats_file, order.index, order.workers)
    return run(order.job, order.runner, order.beam_args, stats)


def _not_for_people(arguments: Sequence[str]) -> int:
    asked = [*arguments] in (["--help"], ["-h"])
    told = "python -m pipeline.worker is started by python -m pipeline --workers=N, and takes its order from standard input"
    print(told if asked else f"error: {told}; it has no flags", file=sys.stdout if asked else sys.stderr)
    return EXIT_DONE if asked else EXIT_WRONG


if __name__ == "__main__":
    sys.exit(main())
