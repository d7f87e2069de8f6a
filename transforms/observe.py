"""The observer of a process: the transforms call it with events, such as a commit, while they run.

The pipeline (or a test) installs an observer by ``set_observer``. It is kept in module state, because DoFns are pickled and
an observer can't be. Without one, nothing is recorded.
"""

from __future__ import annotations

import contextlib
import enum
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from transforms.errors import ModelError, ScoringError
from transforms.types import OutputRecord, Tokens

Ages = Sequence[float] | npt.NDArray[np.float64]

DeadLetterKind = tuple[str, str]
"""The stage that failed, and the dead-letter class."""


class RollbackCause(enum.Enum):
    """Why a bundle is rolled back: a small closed set, for counting. The reason in words says more."""

    REBALANCE = "rebalance"  # the group rebalanced: nobody's failure
    STAGE = "stage"  # a stage raised, or the runner gave up the bundle
    KAFKA = "kafka"  # Kafka did not take the outputs or their commit
    OBSTRUCTED = "obstructed"  # a topic or a right is missing, which somebody has to cure
    SHARD = "shard"  # another shard of the same bundle could not be committed
    ENDED = "ended"  # the job ended before the bundle was answered


def failure_kind(error: ModelError) -> str:
    """The kind of a failed request: the name of the class in ``transforms.errors``, without ``Error``."""
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == ModelError.__module__)
    return name.removesuffix("Error")


def failure_kinds() -> tuple[str, ...]:
    """Every kind that ``failure_kind`` may return, in the order of their classes' definitions."""
    found = [ModelError]
    for kind in found:
        found.extend(sub for sub in kind.__subclasses__() if sub.__module__ == ModelError.__module__)
    return tuple(kind.__name__.removesuffix("Error") for kind in found)


class Observer:
    """Receives the events of one process. Every method does nothing unless it is overridden.

    The methods are called by the thread that runs a bundle, ``polled`` and ``holding`` also by the one that commits. Where a
    process runs several bundles at once (shards on Flink), several threads may call them at the same time.
    """

    def committed(
        self, predictions: int, dead_letters: Mapping[DeadLetterKind, int], latencies_s: Sequence[tuple[float, int]]
    ) -> None:
        """A bundle was committed: its predictions and dead letters are in Kafka.

        Args:
            predictions: Number of predictions.
            dead_letters: Stage and class of a failure to number of dead letters.
            latencies_s: ``(seconds from read to committed, number of records)``, one pair for each poll.
        """

    def polled(self) -> None:
        """Kafka was polled, whether or not records came. A process that stops reporting this is stuck."""

    def committed_after(self, ages_s: Ages, transaction_s: float | None) -> None:
        """How long the bundle took that was just committed.

        Args:
            ages_s: For each record with a timestamp, the seconds from that to the commit.
            transaction_s: How long its transaction was open; ``None`` without transactions.
        """

    def written(self, outputs: Sequence[OutputRecord]) -> None:
        """The outputs of the bundle that was just committed, with ``--kafka_io=native``."""

    def answered(self, rows: int, took_s: float, version: str | None) -> None:
        """The model server answered a request.

        Args:
            rows: How many records it had.
            took_s: The seconds that it took.
            version: The version of the model that answered, if the server says it.
        """

    def counted_tokens(self, tokens: Tokens) -> None:
        """The server of a language model says how many tokens a request took. One that it refused has none."""

    def request_failed(self, error: ModelError) -> None:
        """The model server refused a request, failed on it, or did not answer it."""

    def requesting(self, in_flight: int, limit: int) -> None:
        """So many requests are in flight now, of at most ``limit``."""

    def paced(self, waited_s: float) -> None:
        """A request has waited so long for ``--rate_limit`` or ``--token_limit``."""

    def retried(self) -> None:
        """A request is about to be sent again."""

    def rolled_back(self, reason: str, cause: RollbackCause) -> None:
        """A bundle was not committed; its records are read again.

        Args:
            reason: Why, in words.
            cause: The same, for counting.
        """

    def left_unanswered(self, records: int) -> None:
        """The job ends while it waits for a cure: so many records were read, and are read again by the next run."""

    def assigned(self, partitions: Sequence[str]) -> None:
        """The partitions now read, as ``topic/partition``, after a change."""

    def holding(self, reason: str | None) -> None:
        """The hold began or ended.

        Args:
            reason: Which server is waited for, and why, such as ``the model server: refused``. ``None`` when the hold ends.
        """

    def spans_lost(self, count: int) -> None:
        """So many spans of traces were not exported. Called by the thread that exports, too."""

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
