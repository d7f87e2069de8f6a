"""Looks up the schemas of a chunk in the schema registry, and holds the bundle while the registry is down.

Decoding is synchronous, so the bundle's thread waits while another thread sends the request. Every ``CHECK_S`` the guard
keeps the process in the consumer group. If the bundle can no longer be committed, the wait ends, and its records are read
again.
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
from transforms.formats.frame import SchemaKey
from transforms.formats.registry import RegisteredSchema
from transforms.formats.schemas import FramedReader
from transforms.guard import CHECK_S, BundleGuard
from transforms.observe import waits, waits_no_more
from transforms.retry import Deadline, Retries, RetryPolicy
from transforms.types import KafkaRecord

TELL_AFTER_S = 1.0
"""Seconds of failure before the hold is reported. Short, because the whole bundle waits."""


class RegistryUnavailableError(FormatError):
    """The registry did not answer for a schema before the retry deadline."""

    dead_letter_class = DeadLetterClass.REGISTRY_UNAVAILABLE


class SchemaSource(Protocol):
    """Where schemas come from; see ``Registry``."""

    def schema(self, key: SchemaKey, /) -> RegisteredSchema:
        """Returns the schema of an id or a GUID."""

    def close(self) -> None:
        """Closes the connections."""


class SchemaLookup:
    """Adds the schemas that a chunk needs to a ``FramedReader``. Not thread-safe.

    Args:
        source: The registry.
        guard: Keeps the Kafka source alive while waiting.
        retry: When to retry, and for how long before ``on_unavailable`` applies.
        on_unavailable: ``hold``, ``dead_letter`` or ``fail``.
        clock: Returns seconds, monotonic.
        sleep: Waits for a number of seconds.
        rng: Randomness for the jitter.
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
            Whether the bundle can still be committed. If not, it must not emit anything.

        Raises:
            UnavailableError: The registry is down, and ``on_unavailable`` is ``fail``.
        """
        return all(self._learn(framed, key) for key in framed.wanted(records))

    def close(self) -> None:
        """Closes the connections."""
        self._source.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _learn(self, framed: FramedReader, key: SchemaKey) -> bool:
        retries, told = Retries(self._retry, self._clock, self._rng), False
        try:
            while True:
                try:
                    schema = self._ask(key, told)
                    if schema is None:
                        return False
                    framed.learn(key, schema)
                    return True
                except FormatError as error:
                    framed.miss(key, error)
                    return True
                except ModelError as error:
                    retries.failed += 1
                    if retries.exhausted and self._on_unavailable == "dead_letter":
                        framed.miss(key, RegistryUnavailableError(f"schema {key} could not be looked up: {error}"))
                        return True
                    if retries.exhausted and self._on_unavailable == "fail":
                        raise UnavailableError(f"the schema registry is down: {error}") from error
                    if retries.elapsed_s >= TELL_AFTER_S:
                        waits(self, str(error))
                        told = True
                    retry_after_s = error.retry_after_s if isinstance(error, TransientError) else None
                    if not self._pause(retries.delay_s(retry_after_s), told):
                        return False
        finally:
            waits_no_more(self)

    def _ask(self, key: SchemaKey, holding: bool) -> RegisteredSchema | None:
        """Asks once; ``None`` if the bundle can no longer be committed."""
        answer = self._thread.submit(self._source.schema, key)
        while not concurrent.futures.wait([answer], CHECK_S).done:
            if not self._guard.keep_alive(holding):
                return None
        return answer.result()

    def _pause(self, seconds: float, holding: bool) -> bool:
        for pause_s in Deadline(seconds, self._clock).pauses(CHECK_S):
            self._sleep(pause_s)
            if not self._guard.keep_alive(holding):
                return False
        return True
