"""``StartOffsets``: the start offset of each partition: the group's committed offset, if its record is still there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.commit_metadata import metadata_of
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.patience import Patience
from transforms.kafka.retention import deleted_records, message
from transforms.kafka.vendor import describe, is_transient

MOVED_ON = {
    ck.KafkaError.ILLEGAL_GENERATION, ck.KafkaError.UNKNOWN_MEMBER_ID, ck.KafkaError.REBALANCE_IN_PROGRESS,
    ck.KafkaError.STALE_MEMBER_EPOCH, ck.KafkaError.FENCED_MEMBER_EPOCH,
}  # fmt: skip
"""The group has rebalanced, or is about to, without us: our commits are refused until we have joined again."""

_Answer = TypeVar("_Answer")


class StartOffsets:
    """Asks Kafka for the start offsets of a group, and commits those of partitions that it reads for the first time.

    Args:
        config: The job's.
        consumer: The group's consumer.
    """

    def __init__(self, config: KafkaConfig, consumer: Any):
        self._config, self._consumer = config, consumer

    def of(self, partitions: Iterable[Partition]) -> list[ck.TopicPartition]:
        """Returns the start offset of each partition: the committed offset, or the earliest one, which is then committed.

        It is committed before anything is read, so that records which retention deletes before the first bundle is answered
        are known to be missing.

        Raises:
            KafkaError: Retention has deleted records that the group had not answered, or Kafka does not answer.
        """
        partitions = list(partitions)
        if not partitions:
            return []
        starts = self.committed(partitions)
        lows = {(tp.topic, tp.partition): self._checked_low(tp) for tp in starts}
        if deleted := deleted_records(starts, lows):
            raise KafkaError(message(deleted, self._config.group_id))
        metadata = metadata_of(self._config, claim=False)
        first = {
            (tp.topic, tp.partition): ck.TopicPartition(tp.topic, tp.partition, lows[tp.topic, tp.partition], metadata)
            for tp in starts
            if tp.offset < 0
        }
        if first:
            self._commit_first(list(first.values()))
        return [first.get((tp.topic, tp.partition), tp) for tp in starts]

    def committed(self, partitions: Iterable[Partition]) -> list[ck.TopicPartition]:
        """Returns the committed offset of each partition, negative where there is none.

        Raises:
            KafkaError: Kafka does not answer.
        """
        wanted = [ck.TopicPartition(topic, partition) for topic, partition in partitions]

        # The offsets of an open transaction are unstable (KIP-447); librdkafka retries until the time-out.
        def ask() -> list[ck.TopicPartition]:
            found: list[ck.TopicPartition] = self._consumer.committed(wanted, timeout=10)
            for tp in found:
                if tp.error is not None:
                    raise ck.KafkaException(tp.error)
            return found

        return _ask_until_answered(ask, f"committed offsets of group {self._config.group_id!r}")

    def _commit_first(self, starts: list[ck.TopicPartition]) -> None:
        """Commits the start offsets of partitions that have no committed offset.

        By the consumer, as a transaction of another bundle may be open. It can't undo a commit of another member: the broker
        has just answered that there is none, also in no open transaction, and it refuses ours if the group has rebalanced
        since. Then the partitions are no longer ours, and the member that gets them commits their start offsets.
        """

        def ask() -> None:
            try:
                for tp in self._consumer.commit(offsets=starts, asynchronous=False):
                    if tp.error is not None:
                        raise ck.KafkaException(tp.error)
            except ck.KafkaException as error:
                if error.args[0].code() not in MOVED_ON:
                    raise

        _ask_until_answered(ask, f"committing the first offsets of group {self._config.group_id!r}")

    def _checked_low(self, committed: ck.TopicPartition) -> int:
        """The earliest offset of a partition, which must not end before its committed one."""
        where = f"{committed.topic}/{committed.partition}"
        asked = ck.TopicPartition(committed.topic, committed.partition)
        low, high = _ask_until_answered(lambda: self._consumer.get_watermark_offsets(asked, timeout=10, cached=False), where)
        if committed.offset > high:
            raise KafkaError(
                f"{where}: group {self._config.group_id!r} has committed offset {committed.offset}, but the partition "
                f"ends at {high}: was the topic deleted and made again? Use another --group_id, or run once with "
                "--start_from=earliest --start_from_again"
            )
        return int(low)


def _ask_until_answered(ask: Callable[[], _Answer], what: str) -> _Answer:
    """Calls ``ask`` until it succeeds, while its errors are transient.

    Raises:
        KafkaError: The error is not transient, or a drain has waited for long.
    """
    with Patience(what) as patience:
        while True:
            try:
                return ask()
            except ck.KafkaException as error:
                if not is_transient(error.args[0]) or not patience.lasts(error.args[0]):
                    raise KafkaError(f"{what}: {describe(error.args[0])}") from error
            time.sleep(0.05)
