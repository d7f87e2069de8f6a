"""What the transforms tell about themselves while they run, to whoever listens in the same process.

The transforms report; the pipeline (or a test) listens: ``set_observer`` puts a listener in module state, because DoFns are
pickled and a listener can't be. Without one, nothing is recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from transforms.errors import ScoringError


class Observer:
    """A listener; every method may be overridden, none has to be. Called from the thread that runs the bundle, except
    ``answered`` and ``retried``, which the request loop's thread calls.
    """

    def committed(
        self, predictions: int, dead_letters: Mapping[str, int], latencies_ms: Sequence[tuple[float, int]]
    ) -> None:
        """A bundle's outcomes are in Kafka for good.

        Args:
            predictions: How many records were answered.
            dead_letters: Error class to how many records were not.
            latencies_ms: ``(milliseconds from being read to being committed, records)``, one pair a poll.
        """

    def polled(self) -> None:
        """Kafka was asked for records, whether or not any came: the process is not stuck. Once a poll."""

    def answered(self, rows: int) -> None:
        """The model server answered a request of ``rows`` records."""

    def retried(self) -> None:
        """A request is about to be sent again."""

    def rolled_back(self, reason: str) -> None:
        """A bundle was not committed; its records are read again."""

    def assigned(self, partitions: Sequence[str]) -> None:
        """The partitions now read, as ``topic/partition``, after a change."""

    def holding(self, reason: str | None) -> None:
        """Who is waited for, and why, such as ``the model server: refused``; ``None``: no longer."""

    def failed(self, error: ScoringError) -> None:
        """The job is about to end with ``error``; Beam's engines keep only its text."""


_observer = Observer()


def observer() -> Observer:
    """Returns the listener of this process."""
    return _observer


def set_observer(new: Observer) -> None:
    """Makes ``new`` the listener of this process."""
    global _observer
    _observer = new


@contextlib.contextmanager
def reporting_failures() -> Iterator[None]:
    """Tells the listener of a ``ScoringError`` that passes."""
    try:
        yield
    except ScoringError as error:
        observer().failed(error)
        raise
