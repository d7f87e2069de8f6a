"""``OffsetCommits``: commits offsets in the background, with one request in flight at most.

Kafka 4.0 and 4.1 answer a commit after 5 ms, because the coordinator waits for more writes to batch (KIP-1224). They answer
the requests of a connection one after the other, and heartbeats use the same connection. With a commit after every bundle,
which is 250 a second at low load, commits would queue up in front of the heartbeats. Measured: after 35 s the heartbeats
were 11 s late, the member was removed from the group, and nothing was read for 28 s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

import confluent_kafka as ck

from transforms.kafka.config import Partition
from transforms.kafka.vendor import describe

log = logging.getLogger(__name__)

SAY_S = 10.0
"""Seconds between two warnings that commits fail."""


class OffsetCommits:
    """Sends offset commits. Offsets that arrive while a request is in flight are sent together in the next one.

    Args:
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._consumer: ck.Consumer | None = None
        self._under_way = False
        self._next: dict[Partition, ck.TopicPartition] = {}
        self._say_at = 0.0

    def commit(self, consumer: ck.Consumer, offsets: Iterable[ck.TopicPartition]) -> None:
        """Commits ``offsets`` in the background. It raises nothing: after a lost commit, records are read again.

        Args:
            consumer: The consumer to commit with. Its ``on_commit`` must be ``answered``, which runs inside
                ``consumer.poll``.
            offsets: For each partition, the next offset to read, with its metadata.
        """
        self._consumer = consumer
        self._next.update(((tp.topic, tp.partition), tp) for tp in offsets)
        self._send()

    def answered(self, error: ck.KafkaError | None, partitions: list[ck.TopicPartition]) -> None:
        """Takes the result of a commit, and sends the offsets that arrived meanwhile. It is the consumer's ``on_commit``.

        Args:
            error: The error of the request, if it failed.
            partitions: The partitions of the request, each with its error, if any.
        """
        self._under_way = False
        failed = error or next((tp.error for tp in partitions if tp.error is not None), None)
        if failed is not None and self._clock() >= self._say_at:
            self._say_at = self._clock() + SAY_S
            log.warning("offsets were not committed, their records may be read again: %s", describe(failed))
        self._send()

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drops the offsets of partitions that were revoked or lost and that were not sent yet."""
        for partition in partitions:
            self._next.pop(partition, None)

    def _send(self) -> None:
        if self._under_way or not self._next or self._consumer is None:
            return
        offsets = list(self._next.values())
        self._next.clear()
        self._under_way = True
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except ck.KafkaException as raised:
            self.answered(raised.args[0], [])  # _next is empty by now, so this does not call _send for ever
