"""What a stub server does wrong, programmed by the test while it runs, and what it has seen."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

Kind = Literal["status", "malformed", "short", "long", "scalar", "wrong_dtype", "no_outputs", "hang", "hang_up"]


class StubError(Exception):
    """The answer to a request is a status.

    Attributes:
        code: The gRPC status code's name; over REST, TensorFlow Serving's HTTP status for it.
        message: The server's text.
        retry_after_s: How long the server asks to wait.
        http_status: Over REST, this instead of the status of ``code``.
    """

    def __init__(self, code: str, message: str, retry_after_s: float | None = None, http_status: int | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.http_status = http_status


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one request.

    Attributes:
        kind: ``status``: answer ``error``. ``malformed``: a body that can't be read. ``short``, ``long``: one row too few or
            too many. ``scalar``: outputs without a batch dimension. ``wrong_dtype``: numbers as strings and the reverse.
            ``no_outputs``: none at all. ``hang``: no answer until cancelled. ``hang_up``: the connection is cut.
        error: For ``status``.
    """

    kind: Kind
    error: StubError | None = None


class Faults:
    """The faults of one stub server and its counters. Safe to use from the test's thread while the server runs.

    Attributes:
        latency_s: Seconds every request takes.
        poison: Given one row (input name to its value), whether the server refuses any batch with that row.
        poison_error: What a batch with such a row is answered with.
        max_batch: Rows at most; more are INVALID_ARGUMENT, as from TensorFlow Serving's batching.
        max_concurrent_requests: More at a time are UNAVAILABLE, with its text for a full queue.
        requests: Prediction requests that arrived.
        batch_sizes: Their rows, in the order of arrival.
        rows_answered: Rows of the successful answers.
        in_flight: Requests under way.
        held: Those of them that wait for ``release``.
        max_concurrent: The highest ``in_flight``.
        cancelled: Requests that the client cancelled.
        last_headers: Headers or gRPC metadata of the last prediction request, names in lower case.
    """

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.poison: Callable[[dict[str, Any]], bool] | None = None
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
        """Answers ``rows`` more rows, or a few more (what is under way then), and holds every request from there on.

        However fast the client is, it comes no further: a test can stop or kill it in the middle of its work, once
        ``held`` is above 0.
        """
        self.release()
        with self._changed:
            self._hold_at = self.rows_answered + rows

    def hold_next(self, requests: int) -> None:
        """Holds the next ``requests``, and answers those that come after them."""
        with self._changed:
            self._hold_next += requests

    def release(self) -> None:
        """Answers what is held, and goes on."""
        with self._changed:
            self._hold_at, self._hold_next = None, 0
            self._holding += 1

    def hold(self) -> int | None:
        """Whether a request that has arrived has to wait, for the server; ``go_on`` must follow then.

        Returns:
            What to ask ``holds`` with.
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
        """Whether it has to wait still, for the server."""
        return self._holding == holding

    def go_on(self) -> None:
        """Counts the end of the wait, for the server."""
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
        """Everything works again: no faults, no latency, no limits, nothing held. The counters stay."""
        self.release()
        with self._changed:
            self._queue.clear()
            self._always = self.poison = self.max_batch = self.max_concurrent_requests = None
            self.latency_s = 0.0

    def wait_for(self, condition: Callable[[Faults], bool], timeout_s: float = 60.0) -> None:
        """Blocks until a condition on the counters holds; in a coroutine, call it by ``asyncio.to_thread``.

        Raises:
            TimeoutError: It does not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout_s):
                raise TimeoutError(f"not within {timeout_s} s")

    def arrived(self, inputs: Mapping[str, np.ndarray], rows: int) -> Fault | None:
        """Counts a request, for the server; ``left`` must follow.

        Returns:
            What goes wrong with it.

        Raises:
            StubError: It is refused.
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
        if self.poison is not None:
            for row in range(rows):
                if self.poison({name: array[row] if array.ndim else array[()] for name, array in inputs.items()}):
                    raise self.poison_error
        if fault is not None and fault.error is not None:
            raise fault.error
        return fault

    def left(self, rows_answered: int = 0, cancelled: bool = False) -> None:
        """Counts the end of a request, for the server."""
        with self._changed:
            self.in_flight -= 1
            self.rows_answered += rows_answered
            self.cancelled += cancelled
            self._changed.notify_all()


def spoil(fault: Fault | None, outputs: dict[str, Any]) -> dict[str, Any]:
    """Returns a model's outputs as a fault has them; unchanged if it is none of the outputs'."""
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
