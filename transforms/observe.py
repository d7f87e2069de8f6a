"""The observer of a process: the transforms call it with events, such as a commit, while they run.

The pipeline (or a test) installs an observer by ``set_observer``. It is kept in module state, because DoFns are pickled and
an observer can't be. Without one, nothing is recorded.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence

from transforms.errors import ScoringError


class Observer:
    """Receives the events of one process. Every method does nothing unless it is overridden.

    The methods are called by the thread that runs a bundle, ``polled`` and ``holding`` also by the one that commits. Where a
    process runs several bundles at once (shards on Flink), several threads may call them at the same time.
    """

    def committed(
        self, predictions: int, dead_letters: Mapping[str, int], latencies_ms: Sequence[tuple[float, int]]
    ) -> None:
        """A bundle was committed: its predictions and dead letters are in Kafka.

        Args:
            predictions: Number of predictions.
            dead_letters: Failure class to number of dead letters.
            latencies_ms: ``(milliseconds from read to committed, number of records)``, one pair for each poll.
        """

    def polled(self) -> None:
        """Kafka was polled, whether or not records came. A process that stops reporting this is stuck."""

    def answered(self, rows: int) -> None:
        """The model server answered a request of ``rows`` records."""

    def retried(self) -> None:
        """A request is about to be sent again."""

    def rolled_back(self, reason: str) -> None:
        """A bundle was not committed; its records are read again."""

    def left_unanswered(self, records: int) -> None:
        """The job ends while it waits for a cure: so many records were read, and are read again by the next run."""

    def assigned(self, partitions: Sequence[str]) -> None:
        """The partitions now read, as ``topic/partition``, after a change."""

    def holding(self, reason: str | None) -> None:
        """The hold began or ended.

        Args:
            reason: Which server is waited for, and why, such as ``the model server: refused``. ``None`` when the hold ends.
        """

    def failed(self, error: ScoringError) -> None:
        """The job is about to end with ``error``. Beam's runners keep only the text of an exception."""


_observer = Observer()
_waiting: dict[object, str] = {}
_waiting_lock = threading.Lock()


def observer() -> Observer:
    """Returns the observer of this process."""
    return _observer


def set_observer(new: Observer) -> None:
    """Makes ``new`` the observer of this process."""
    global _observer
    _observer = new


def waits(who: object, reason: str) -> None:
    """``who`` waits for a server, because of ``reason``. May be called again, with a newer reason."""
    with _waiting_lock:
        _waiting[who] = reason
        observer().holding(reason)


def waits_no_more(who: object) -> None:
    """``who`` waits no longer, if it did. The hold goes on while others wait, for another server perhaps."""
    with _waiting_lock:
        if _waiting.pop(who, None) is not None:
            observer().holding(next(reversed(_waiting.values()), None))


@contextlib.contextmanager
def reporting_failures() -> Iterator[None]:
    """Calls ``Observer.failed`` with a ``ScoringError`` that leaves the block, and raises it again."""
    try:
        yield
    except ScoringError as error:
        observer().failed(error)
        raise
