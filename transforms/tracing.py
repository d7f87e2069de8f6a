"""The tracer of a process: makes a span of each request and of each record. By default there is none: a branch a batch.

The pipeline installs one by ``set_tracer``: ``pipeline.telemetry.spans.OtelTracer``. As with the observer, it is kept in
module state, because DoFns are pickled and a tracer can't be.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence

from transforms.types import Headers, OutputRecord, PredictedChunk


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Who is asked.

    Attributes:
        model: The model's name.
        uri: Its URI.
    """

    model: str
    uri: str


NOBODY = Target("", "")
"""Where it does not matter who is asked."""


class RequestTrace(abc.ABC):
    """The span of a request that is under way. One of its methods is called, once.

    Attributes:
        traceparent: The span's context, to be linked from the records' spans.
    """

    traceparent: bytes

    @abc.abstractmethod
    def answered(self, version: str) -> None:
        """The server answered; ``version`` as in ``Answer``."""

    @abc.abstractmethod
    def failed(self, error: BaseException) -> None:
        """The request failed, or was cancelled."""


class BatchTraces(abc.ABC):
    """The trace contexts of the records of a batch."""

    @abc.abstractmethod
    def request(self, start: int, rows: int, attempts: int) -> RequestTrace | None:
        """Begins the span of a request for the rows ``start`` to ``start + rows``; ``None`` if none of them is traced.

        Args:
            start: The first row.
            rows: How many.
            attempts: How many requests the first row was part of, this one included.
        """


class Tracer(abc.ABC):
    """Makes the spans of one process. Several threads may call it at the same time."""

    @abc.abstractmethod
    def batch(self, target: Target, headers: Sequence[Headers]) -> BatchTraces | None:
        """Returns the contexts of a batch; ``None`` if none of its records is traced.

        Args:
            target: Who will be asked.
            headers: Those of the record of each row.
        """

    @abc.abstractmethod
    def records(self, chunk: PredictedChunk, written: Sequence[OutputRecord]) -> Sequence[OutputRecord]:
        """Makes the span of each record that is traced, from its decoding on, and gives its context to what is written.

        Args:
            chunk: The records and their answers.
            written: The output of each record, in their order.
        """

    @abc.abstractmethod
    def refused(self, prediction: OutputRecord, letter: OutputRecord) -> OutputRecord:
        """The same for a dead letter in place of a prediction that Kafka refused."""


_tracer: Tracer | None = None


def tracer() -> Tracer | None:
    """Returns the tracer of this process, if there is one."""
    return _tracer


def set_tracer(new: Tracer | None) -> None:
    """Makes ``new`` the tracer of this process."""
    global _tracer
    _tracer = new
