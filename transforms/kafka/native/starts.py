"""``StartOffsets``: the start offset of each partition: the group's committed offset, if its record is still there.

With each start comes the identity of the topic that it is of. It is asked for after the committed offsets, and before the
partition is read; every commit of what is read from there on names it, whatever Kafka would say later.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.commit_metadata import claim_in, commit_metadata, identity_in
from transforms.kafka.committed import SURE_S, Committed, judged, known, seems_former
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.input_watch import InputLostError
from transforms.kafka.native.patience import Patience
from transforms.kafka.obstacles import CURABLE
from transforms.kafka.retention import deleted_records, message
from transforms.kafka.start_from import GO_ON_WITHOUT
from transforms.kafka.topic_ids import TopicIds
from transforms.kafka.vendor import describe, is_transient

log = logging.getLogger(__name__)

MOVED_ON = {
    ck.KafkaError.ILLEGAL_GENERATION, ck.KafkaError.UNKNOWN_MEMBER_ID, ck.KafkaError.REBALANCE_IN_PROGRESS,
    ck.KafkaError.STALE_MEMBER_EPOCH, ck.KafkaError.FENCED_MEMBER_EPOCH,
}  # fmt: skip
"""The group has rebalanced, or is about to, without us: our commits are refused until we have joined again."""

WITHOUT_IDS_S = 30.0
"""How long a Kafka that answers everything else may leave the question for its topics without an answer."""

_Answer = TypeVar("_Answer")


@dataclasses.dataclass(frozen=True, slots=True)
class Starts:
    """Where to read from.

    Attributes:
        offsets: The start offset of each partition, with the metadata of the commit that it is from.
        identities: Partition to the identity of the topic that it is of.
    """

    offsets: list[ck.TopicPartition] = dataclasses.field(default_factory=list)
    identities: dict[Partition, str] = dataclasses.field(default_factory=dict)


class StartOffsets:
    """Asks Kafka for the start offsets of a group, and commits those of partitions that it reads for the first time.

    Args:
        config: The job's.
        consumer: The group's consumer.
        ids: Asks for the identities of the topics.
        clock: Seconds, monotonic.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        config: KafkaConfig,
        consumer: Any,
        ids: TopicIds,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._config, self._consumer, self._ids = config, consumer, ids
        self._clock, self._sleep = clock, sleep
        self._without_ids = False

    def of(self, partitions: Iterable[Partition], *, commit_first: bool = True) -> Starts:
        """Returns the start offset of each partition: the committed offset, or the earliest one, which is then committed.

        It is committed before anything is read, so that records which retention deletes before the first bundle is answered
        are known to be missing; and so that of several processes which find a topic made again one begins with it, and the
        others go on from there. An offset of a former topic of the name is none.

        Args:
            partitions: The partitions.
            commit_first: Whether to commit them here. A shard commits them with its claim: no generation of a group would
                keep a late one of these commits from undoing what another shard has committed.

        Raises:
            InputLostError: A topic or a right is missing.
            KafkaError: Retention has deleted records that the group had not answered, or Kafka does not answer.
        """
        partitions = list(partitions)
        if not partitions:
            return Starts()
        found = self._judged(self._committed(partitions))
        ranges = self._ranges(found.offsets)  # after the identities: of the same topic
        if any(identity_in(tp.metadata) for tp in _beyond_end(found.offsets, ranges)):
            self._sleep(SURE_S)  # of another topic, perhaps, of which the broker that told the identities has not heard yet
            found = self._judged(found.offsets)
            ranges = self._ranges(found.offsets)
        self._check_ends(found.offsets, ranges)
        starts = found.offsets
        lows = {partition: low for partition, (low, _) in ranges.items()}
        if deleted := deleted_records(starts, lows):
            raise KafkaError(message(deleted, self._config.group_id))
        identities = {(tp.topic, tp.partition): found.identities.get(tp.topic) or identity_in(tp.metadata) for tp in starts}
        first = [self._first(tp, lows, identities) for tp in starts if tp.offset < 0]
        if first and commit_first:
            self._commit_first(first)
        self._say(found.former)
        return Starts([*first, *(tp for tp in starts if tp.offset >= 0)], identities)

    def _first(
        self, before: ck.TopicPartition, lows: Mapping[Partition, int], identities: Mapping[Partition, str]
    ) -> ck.TopicPartition:
        """The first offset of a partition. It keeps the claim that was there, of a shard that may still live."""
        partition = before.topic, before.partition
        text = commit_metadata(claim_in(before.metadata), self._config.started_from, identities[partition])
        return ck.TopicPartition(*partition, lows[partition], text)

    def committed(self, partitions: Collection[Partition]) -> list[ck.TopicPartition]:
        """Returns the committed offset of each partition, negative where there is none that counts.

        Raises:
            InputLostError: A topic or a right is missing.
            KafkaError: Kafka does not answer.
        """
        return self._judged(self._committed(partitions)).offsets if partitions else []

    def _committed(self, partitions: Iterable[Partition]) -> list[ck.TopicPartition]:
        wanted = [ck.TopicPartition(topic, partition) for topic, partition in partitions]

        # The offsets of an open transaction are unstable (KIP-447); librdkafka retries until the time-out.
        def ask() -> list[ck.TopicPartition]:
            found: list[ck.TopicPartition] = self._consumer.committed(wanted, timeout=10)
            for tp in found:
                if tp.error is not None:
                    raise ck.KafkaException(tp.error)
            return found

        return _ask_until_answered(ask, f"committed offsets of group {self._config.group_id!r}", self._sleep)

    def _judged(self, offsets: list[ck.TopicPartition]) -> Committed:
        identities = self._identities()
        if seems_former(offsets, identities):
            self._sleep(SURE_S)
            identities = self._identities()
        return judged(offsets, identities)

    def _identities(self) -> Mapping[str, str]:
        """The identities of the topics. Kafka has just answered; where it does not answer this, it has none for us."""
        if self._without_ids:
            return {}
        began = self._clock()

        def ask() -> Mapping[str, str]:
            try:
                return known(self._ids.ask())
            except ck.KafkaException as raised:
                error: ck.KafkaError = raised.args[0]
                if error.code() in CURABLE or (is_transient(error) and self._clock() - began < WITHOUT_IDS_S):
                    raise
                self._without_ids = True
                log.warning("Kafka gives no ids of topics: one that is made again is not noticed (%s)", describe(error))
                return {}

        return _ask_until_answered(ask, "the ids of the input topics", self._sleep)

    def _say(self, former: Mapping[Partition, int]) -> None:
        """Says what a group had read of former topics: at most so many records, as offsets may be without one."""
        for topic in sorted({topic for topic, _ in former}):
            read = sum(offset for (name, _), offset in former.items() if name == topic)
            log.warning(
                "the input topic %s was deleted and made again, and is read from its start; of the former one group %s had "
                "read up to %s records",
                topic, self._config.group_id, f"{read:,}",
            )  # fmt: skip

    def _commit_first(self, starts: list[ck.TopicPartition]) -> None:
        """Commits the start offsets of partitions that have no committed offset, or one of a former topic.

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

        _ask_until_answered(ask, f"committing the first offsets of group {self._config.group_id!r}", self._sleep)

    def _ranges(self, offsets: Iterable[ck.TopicPartition]) -> dict[Partition, tuple[int, int]]:
        """The earliest offset and the end of each partition."""
        found = {}
        for tp in offsets:
            asked = ck.TopicPartition(tp.topic, tp.partition)

            def ask(asked: ck.TopicPartition = asked) -> tuple[int, int]:
                low, high = self._consumer.get_watermark_offsets(asked, timeout=10, cached=False)
                return int(low), int(high)

            found[tp.topic, tp.partition] = _ask_until_answered(ask, f"{tp.topic}/{tp.partition}", self._sleep)
        return found

    def _check_ends(self, offsets: Iterable[ck.TopicPartition], ranges: Mapping[Partition, tuple[int, int]]) -> None:
        """Raises an error if a partition ends before its committed offset."""
        for tp in _beyond_end(offsets, ranges):
            unnamed = "" if identity_in(tp.metadata) else " The commit does not name the topic that it is of."
            raise KafkaError(
                f"{tp.topic}/{tp.partition}: group {self._config.group_id!r} has committed offset {tp.offset}, but the "
                f"partition ends at {ranges[tp.topic, tp.partition][1]}: was the topic deleted and made again?{unnamed} "
                f"Use another --group_id, or, to read this partition from its start, {GO_ON_WITHOUT}"
            )


def _beyond_end(
    offsets: Iterable[ck.TopicPartition], ranges: Mapping[Partition, tuple[int, int]]
) -> list[ck.TopicPartition]:
    return [tp for tp in offsets if tp.offset > ranges[tp.topic, tp.partition][1]]


def _ask_until_answered(ask: Callable[[], _Answer], what: str, sleep: Callable[[float], None]) -> _Answer:
    """Calls ``ask`` until it succeeds, while its errors are transient.

    Raises:
        InputLostError: A topic or a right is missing.
        KafkaError: The error is not transient, or a drain has waited for long.
    """
    with Patience(what) as patience:
        while True:
            try:
                return ask()
            except ck.KafkaException as error:
                if error.args[0].code() in CURABLE:
                    raise InputLostError(f"{what}: {describe(error.args[0])}") from error
                if not is_transient(error.args[0]) or not patience.lasts(error.args[0]):
                    raise KafkaError(f"{what}: {describe(error.args[0])}") from error
            sleep(0.05)
