"""Waiting for the schema registry: a bundle whose schemas can't be had is held, not failed.

Decoding is synchronous, so the bundle's own thread waits; the request runs in another, and every ``CHECK_S`` the guard keeps
the process's place in the consumer group. Where the bundle can no longer be committed, the wait ends: it is read again.
"""

from __future__ import annotations

import concurrent.futures
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ModelError, TransientError, UnavailableError
from transforms.formats.codecs import FormatError
from transforms.formats.registry import RegisteredSchema
from transforms.formats.schemas import FramedReader
from transforms.guard import CHECK_S, BundleGuard
from transforms.observe import observer
from transforms.retry import RetryPolicy
from transforms.types import KafkaRecord

TELL_AFTER_S = 1.0
"""How long the registry may fail before anybody is told: the whole bundle waits for it, so not long."""


class RegistryUnavailableError(FormatError):
    """The registry could not be asked for the schema, for as long as is tried."""

    dead_letter_class = DeadLetterClass.REGISTRY_UNAVAILABLE


class SchemaSource(Protocol):
    """Where schemas come from; see ``Registry``."""

    def schema(self, schema_id: int) -> RegisteredSchema:
        """Returns the schema of an id."""

    def close(self) -> None:
        """Closes the connections."""


class SchemaLookup:
    """Teaches ``FramedReader`` the schemas that a chunk needs. Not for use by several threads at once.

    Args:
        source: The registry.
        guard: Keeps the Kafka source alive meanwhile.
        retry: When to try again, and for how long before ``on_unavailable`` counts.
        on_unavailable: ``hold``, ``dead_letter`` or ``fail``.
        clock: Seconds, monotonic.
        sleep: Waits so many seconds.
        rng: The jitter's.
    """

    def __init__(
        self,
        source: SchemaSource,
        guard: BundleGuard,
        retry: RetryPolicy,
        on_unavailable: str = "hold",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ):
        self._source, self._guard, self._retry, self._on_unavailable = source, guard, retry, on_unavailable
        self._clock, self._sleep, self._rng = clock, sleep, rng or random.Random()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="schema-registry")

    def teach(self, framed: FramedReader, records: Sequence[KafkaRecord]) -> bool:
        """Gets the schemas of ``records``, waiting for the registry if need be.

        Returns:
            Whether the bundle can still be committed; if not, nothing of it is to leave.

        Raises:
            UnavailableError: The registry is down, and ``on_unavailable`` is ``fail``.
        """
        return all(self._learn(framed, number) for number in framed.wanted(records))

    def close(self) -> None:
        """Closes the connections."""
        self._source.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _learn(self, framed: FramedReader, number: int) -> bool:
        began, failed, told = self._clock(), 0, False
        try:
            while True:
                try:
                    schema = self._ask(number)
                    if schema is None:
                        return False
                    framed.learn(number, schema)
                    return True
                except FormatError as error:
                    framed.miss(number, error)
                    return True
                except ModelError as error:
                    failed += 1
                    waited_s = self._clock() - began
                    if waited_s >= self._retry.deadline_s and self._on_unavailable == "dead_letter":
                        framed.miss(number, RegistryUnavailableError(f"schema {number} could not be had: {error}"))
                        return True
                    if waited_s >= self._retry.deadline_s and self._on_unavailable == "fail":
                        raise UnavailableError(f"the schema registry is down: {error}") from error
                    if waited_s >= TELL_AFTER_S:
                        observer().holding(str(error))
                        told = True
                    retry_after_s = error.retry_after_s if isinstance(error, TransientError) else None
                    if not self._pause(self._retry.delay_s(failed, retry_after_s, self._rng)):
                        return False
        finally:
            if told:
                observer().holding(None)

    def _ask(self, number: int) -> RegisteredSchema | None:
        """Asks once; ``None`` where the bundle is not worth waiting for any more."""
        answer = self._thread.submit(self._source.schema, number)
        while not concurrent.futures.wait([answer], CHECK_S).done:
            if not self._guard.keep_alive():
                return None
        return answer.result()

    def _pause(self, seconds: float) -> bool:
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            self._sleep(min(left, CHECK_S))
            if not self._guard.keep_alive():
                return False
        return True
