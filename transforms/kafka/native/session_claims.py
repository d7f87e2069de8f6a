"""``SessionClaims``: what a session claims under static assignment, and when it may. ``claims.py`` has the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.claims import OpenWriter, claim, claim_again_at_start, claim_at_start
from transforms.kafka.native.commits import Commits
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.producer import Writer
from transforms.kafka.native.starts import Starts


class SessionClaims:
    """The claims of one session.

    Args:
        config: The job's Kafka configuration.
        writer: The session's writer. Its producer is replaced by a claim (``Writer.under_claim``).
        commits: What the session has committed.
        is_settled: Waits for the commit in progress; returns whether it is final, and no bundle is open.
        open_writer: Opens the locks, and the producers to fence.
        sleep: Waits a number of seconds.
    """

    def __init__(
        self,
        config: KafkaConfig,
        writer: Writer,
        commits: Commits,
        is_settled: Callable[[], bool],
        open_writer: OpenWriter,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._config, self._writer, self._commits = config, writer, commits
        self._is_settled, self._open_writer, self._sleep = is_settled, open_writer, sleep
        self._claimed: dict[Partition, int] = {}
        self._reader: Reader

    def start(self, reader: Reader) -> None:
        """Takes over the session's reader, which calls ``claim`` from its first poll on."""
        self._reader = reader
        self._writer.under_claim(self.claim_again)

    def claim(self, new: Collection[Partition]) -> Starts | None:
        """Claims partitions before they are read; ``None`` while a bundle is open, whose transaction that would end.

        Returns:
            Where they start.

        Raises:
            FencedError: As ``claims.claim``.
            KafkaError: Kafka does not answer, or refuses.
        """
        if not self._config.shards_move:
            starts = self._reader.starts(sorted(new))
            # While a bundle is in progress, these partitions are new to the topic, and no shard had them.
            if self._commits.underway is None and not self._writer.open_s:
                starts = claim_at_start(self._config, self._reader, self._writer, starts, self._open_writer)
                self._claimed |= {(tp.topic, tp.partition): tp.offset for tp in starts.offsets}
            return starts
        if not self._is_settled():
            return None
        starts = claim(self._config, self._reader, self._writer, new, self._held(), self._open_writer, self._sleep)
        self._claimed |= {(tp.topic, tp.partition): tp.offset for tp in starts.offsets}
        return starts

    def claim_again(self, goes_on: bool) -> None:
        """Opens the writer anew by the steps of a claim. See ``Writer.under_claim``.

        Raises:
            FencedError: Another shard has claimed what this one held.
            KafkaError: Kafka does not answer, or refuses.
        """
        if not self._config.shards_move:
            # What the bundle had claimed. One that does not go on reads the committed offsets again, whoever made them.
            ours = {it: offset for it, offset in self._held().items() if offset is not None} if goes_on else {}
            claim_again_at_start(self._config, self._reader, self._writer, ours)
            return
        held = self._held() if goes_on else dict.fromkeys(self._reader.owned)
        claim(self._config, self._reader, self._writer, (), held, self._open_writer, self._sleep)

    def _held(self) -> dict[Partition, int | None]:
        """The partitions that are claimed, and their committed offsets as far as this session knows."""
        known = self._claimed | self._commits.offsets
        return {partition: known.get(partition) for partition in self._reader.owned}
