"""``Faults``: the faults that a test programs into a stub server, and the counters of the server's requests."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

Kind = Literal["status", "malformed", "short", "long", "scalar", "wrong_dtype", "no_outputs", "hang", "hang_up"]


class StubError(Exception):
    """A request is answered with an error status.

    Attributes:
        code: The name of the gRPC status code. Over REST it becomes the HTTP status that TensorFlow Serving has for it.
        message: The error text.
        retry_after_s: The wait that the server asks for in seconds; ``None`` for none.
        http_status: The HTTP status over REST; ``None`` for that of ``code``.
    """

    def __init__(self, code: str, message: str, retry_after_s: float | None = None, http_status: int | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.http_status = http_status


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one request.

    Attributes:
        kind: ``status``: ``error`` is answered. ``malformed``: the body can't be read. ``short``, ``long``: one row too few
            or too many. ``scalar``: outputs without a batch dimension. ``wrong_dtype``: numbers as strings, strings as
            numbers. ``no_outputs``: no outputs. ``hang``: no answer until the request is cancelled. ``hang_up``: the
            connection is cut.
        error: The error of the kind ``status``.
    """

    kind: Kind
    error: StubError | None = None


class Faults:
    """The faults of one stub server and its counters. Safe to use from the test's thread while the server runs.

    Attributes:
        latency_s: Seconds that every request takes.
        poison: Takes a row (input name to value), and returns whether the server refuses a batch with that row.
        poison_kind: The fault of a batch with such a row.
        poison_error: The error of such a batch, for the kind ``status``.
        max_batch: The highest number of rows; more are INVALID_ARGUMENT, as with TensorFlow Serving's batching.
        max_concurrent_requests: The highest number of requests at a time; more are UNAVAILABLE, with TensorFlow Serving's
            text for a full queue.
        requests: The number of prediction requests that arrived.
        batch_sizes: The rows of each request, in order of arrival.
        rows_answered: The number of rows in successful answers.
        in_flight: The number of requests in progress.
        held: The number of requests that wait for ``release``.
        max_concurrent: The highest ``in_flight`` so far.
        cancelled: The number of requests that clients cancelled.
        last_headers: The headers or gRPC metadata of the last prediction request; names in lower case.
    """

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.poison: Callable[[dict[str, Any]], bool] | None = None
        self.poison_kind: Kind = "status"
        self.poison_error = StubError("INVALID_ARGUMENT", "injected fault: a row of the batch is poison")
        self.max_batch: int | None = None
        self.max_concurrent_requests: int | None = None
        self.requests = 0
        self.batch_sizes: list[int] = []
        self.rows_answered = 0
        self.in_flight = 0
        self.held = 0
        self.max_concurrent = 0
        self.cancelled = 0
        self.last_headers: tuple[tuple[str, str], ...] = ()
        self._queue: collections.deque[Fault] = collections.deque()
        self._always: Fault | None = None
        self._hold_at: int | None = None
        self._hold_next = 0
        self._holding = 0
        self._changed = threading.Condition()

    def fail_next(
        self,
        requests: int | None,
        code: str = "UNAVAILABLE",
        message: str = "injected fault",
        retry_after_s: float | None = None,
        http_status: int | None = None,
    ) -> None:
        """Answers the next ``requests`` (``None``: all, until ``clear``) with a status."""
        self._add(requests, Fault("status", StubError(code, message, retry_after_s, http_status)))

    def answer_next(self, requests: int | None, kind: Kind) -> None:
        """Answers the next ``requests`` (``None``: all, until ``clear``) with a fault of that kind."""
        self._add(requests, Fault(kind))

    def hold_after(self, rows: int) -> None:
        """Holds every request once ``rows`` more rows were answered. Requests in progress at that moment are still answered.

        A client of any speed stops there. Once ``held`` is above 0, a test can stop or kill it in the middle of its work.
        """
        self.release()
        with self._changed:
            self._hold_at = self.rows_answered + rows

    def hold_next(self, requests: int) -> None:
        """Holds the next ``requests`` requests, and answers later ones."""
        with self._changed:
            self._hold_next += requests

    def release(self) -> None:
        """Answers the held requests, and holds no more."""
        with self._changed:
            self._hold_at, self._hold_next = None, 0
            self._holding += 1

    def hold(self) -> int | None:
        """Returns whether a request that has arrived must wait. Called by the server; if it must, ``go_on`` must follow.

        Returns:
            A token for ``holds``; ``None`` if the request need not wait.
        """
        with self._changed:
            reached = self._hold_at is not None and self.rows_answered >= self._hold_at
            if not reached and not self._hold_next:
                return None
            self._hold_next -= not reached
            self.held += 1
            self._changed.notify_all()
            return self._holding

    def holds(self, holding: int) -> bool:
        """Returns whether a request with this token must still wait. Called by the server."""
        return self._holding == holding

    def go_on(self) -> None:
        """Counts the end of a wait. Called by the server."""
        with self._changed:
            self.held -= 1
            self._changed.notify_all()

    def _add(self, requests: int | None, fault: Fault) -> None:
        with self._changed:
            if requests is None:
                self._always = fault
            else:
                self._queue.extend([fault] * requests)

    def clear(self) -> None:
        """Removes all faults, latency and limits, and releases held requests. The counters stay."""
        self.release()
        with self._changed:
            self._queue.clear()
            self._always = self.poison = self.max_batch = self.max_concurrent_requests = None
            self.latency_s = 0.0

    def wait_for(self, condition: Callable[[Faults], bool], timeout_s: float = 60.0) -> None:
        """Blocks until a condition on the counters is met. In a coroutine, call it with ``asyncio.to_thread``.

        Args:
            condition: The condition.
            timeout_s: The time-out in seconds.

        Raises:
            TimeoutError: The condition is not met within ``timeout_s``.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout_s):
                raise TimeoutError(f"not within {timeout_s} s")

    def arrived(self, inputs: Mapping[str, np.ndarray], rows: int) -> Fault | None:
        """Counts a request that has arrived. Called by the server; ``left`` must follow.

        Args:
            inputs: Input name to array.
            rows: The number of rows.

        Returns:
            The fault of the request; ``None`` for none.

        Raises:
            StubError: The request is answered with an error status.
        """
        with self._changed:
            self.requests += 1
            self.batch_sizes.append(rows)
            self.in_flight += 1
            self.max_concurrent = max(self.max_concurrent, self.in_flight)
            crowded = self.max_concurrent_requests is not None and self.in_flight > self.max_concurrent_requests
            fault = self._queue.popleft() if self._queue else self._always
            self._changed.notify_all()
        if crowded:
            raise StubError("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full")
        if self.max_batch is not None and rows > self.max_batch:
            limit = f"maximum input batch size {self.max_batch}"
            raise StubError("INVALID_ARGUMENT", f"Task size {rows} is larger than {limit}")
        if self.poison is not None and self._has_poison(inputs, rows, self.poison):
            if self.poison_kind == "status":
                raise self.poison_error
            return Fault(self.poison_kind)
        if fault is not None and fault.error is not None:
            raise fault.error
        return fault

    def _has_poison(self, inputs: Mapping[str, np.ndarray], rows: int, poison: Callable[[dict[str, Any]], bool]) -> bool:
        return any(
            poison({name: array[row] if array.ndim else array[()] for name, array in inputs.items()}) for row in range(rows)
        )

    def left(self, rows_answered: int = 0, cancelled: bool = False) -> None:
        """Counts the end of a request. Called by the server."""
        with self._changed:
            self.in_flight -= 1
            self.rows_answered += rows_answered
            self.cancelled += cancelled
            self._changed.notify_all()


def spoil(fault: Fault | None, outputs: dict[str, Any]) -> dict[str, Any]:
    """Returns a model's outputs with a fault applied; unchanged if the fault does not concern outputs."""
    if fault is None:
        return outputs
    if fault.kind == "no_outputs":
        return {}
    if fault.kind == "short":
        return {name: values[:-1] for name, values in outputs.items()}
    if fault.kind == "long":
        return {name: _longer(values) for name, values in outputs.items()}
    if fault.kind == "scalar":
        return {name: np.asarray(values).ravel()[0] for name, values in outputs.items()}
    if fault.kind == "wrong_dtype":
        return {name: _other_dtype(np.asarray(values)) for name, values in outputs.items()}
    return outputs


def _longer(values: Any) -> Any:
    return np.concatenate([values, values[-1:]]) if isinstance(values, np.ndarray) else [*values, values[-1]]


def _other_dtype(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "OSU":
        return np.zeros(values.shape, np.float32)
    text = np.empty(values.size, dtype=object)
    text[:] = [str(value).encode() for value in values.ravel().tolist()]
    return text.reshape(values.shape)
