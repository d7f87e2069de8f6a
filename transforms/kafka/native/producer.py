"""``Writer``: the writing half of a session, a producer with the outputs of one bundle.

``TransactionalWriter`` (exactly once) and ``AcknowledgedWriter`` (at least once) say how outputs and source offsets of the
bundle become final.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.headers import with_timestamp
from transforms.kafka.config import DEFAULT_BATCH_BYTES, KafkaConfig
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.deliveries import Deliveries, Refusal
from transforms.kafka.obstacles import CURABLE, Obstacles
from transforms.kafka.vendor import NO_TIMESTAMP, PERMANENT, REFUSES_RECORD, describe, is_transient
from transforms.types import Headers, OutputRecord

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 30.0


class NotCommittedError(KafkaError):
    """Nothing of this bundle became visible; read its records again."""


class ObstructedError(NotCommittedError):
    """Nothing of this bundle became visible, and nothing will until somebody cures what the message names.

    Attributes:
        outcome_unknown: Whether a commit was under way, which may be final or not: read again from the committed offsets.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False):
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class OutcomeUnknownError(NotCommittedError):
    """The producer was lost as a commit or its abort was under way, which may be final or not: read again from the
    committed offsets.
    """


class Writer:
    """A producer; subclasses say what ``commit`` means.

    Args:
        config: The job's.
        open_producer: Makes the producer.
        clock: Seconds, monotonic.
        obstacles: What is asked when outputs are not taken for long; by default Kafka.
    """

    aborts = False
    """Whether ``abort`` undoes all that was written since the last commit."""

    def __init__(
        self,
        config: KafkaConfig,
        open_producer: Callable[..., Any] = ck.Producer,
        clock: Callable[[], float] = time.monotonic,
        obstacles: Obstacles | None = None,
    ):
        self.config, self._clock = config, clock
        self.obstacles = obstacles or Obstacles(config)
        self._replace_by: Callable[[bool], None] | None = None  # not a method as default: the client would be in a cycle
        self.deliveries = Deliveries()
        self._batch_bytes: int | None = None
        self._counts: dict[str, int] = {}
        self._open_producer = open_producer
        self.producer = self._open()

    def _open(self) -> Any:
        properties = self.config.producer_properties()
        if self._batch_bytes is not None:
            properties["batch.size"] = self._batch_bytes
        return self._open_producer(properties, logger=logging.getLogger("transforms.kafka.librdkafka"))

    @property
    def batch_bytes(self) -> int:
        """Most bytes of a batch of several records, before compression."""
        return int(self._batch_bytes or self.config.producer_properties().get("batch.size", DEFAULT_BATCH_BYTES))

    def resize_batches(self, batch_bytes: int | None) -> None:
        """Goes on with smaller batches (``None``: with those of the configuration), by a new producer. Not with one open."""
        self._batch_bytes = batch_bytes
        self.producer.purge()
        self.producer = self._open()

    def renew(self) -> None:
        """Leaves the producer behind, with all that it has not written, and goes on with a new one.

        Raises:
            FencedError: A newer process of this instance has taken over.
            ScoringError: Kafka does not take the new one.
        """
        self.producer.purge()
        self.deliveries.clear()
        self._counts.clear()  # a topic that is made again may have other partitions
        self.producer = self._open()

    def reopen(self) -> None:
        """As ``renew``, whether or not another process has fenced the producer meanwhile."""
        self.renew()

    def under_claim(self, replace: Callable[[bool], None]) -> None:
        """Until ``close``, ``replace`` is called in place of ``reopen`` where others may have fenced the producer.

        Args:
            replace: Calls ``reopen``, or raises ``FencedError``. Its argument says whether the bundle goes on: then its
                outputs are written again, and its records are not read again.
        """
        self._replace_by = replace

    @property
    def open_s(self) -> float:
        """How long a transaction has been open, in seconds; 0 if there is none."""
        return 0.0

    @property
    def transaction_too_old(self) -> bool:
        """Whether a transaction has been open for half of ``transaction.timeout.ms``, after which Kafka aborts it."""
        return False

    def write(self, records: Sequence[OutputRecord]) -> None:
        """Hands records to librdkafka, which sends them in the background, in order per output partition.

        A keyed record goes where its key says. A null key has no place of its own: it goes to the partition of the same
        number as its source's (modulo the count), which keeps the order of the input.

        Raises:
            NotCommittedError: The bundle's transaction has failed already, or a record is refused (``deliveries`` has it).
            ObstructedError: The topic is not there any more, or a right is missing.
            KafkaError: Trying again would not help.
        """
        produce, reports = self.producer.produce, self.deliveries.expect(records)
        refused = len(self.deliveries.refused)
        for record, report in zip(records, reports, strict=True):
            topic, key, value, headers, timestamp_ms, source, _ = record
            if not timestamp_ms:
                timestamp_ms, headers = _for_librdkafka(timestamp_ms, headers)
            while True:
                try:
                    partition = self._partition_of(topic, key, source[1])
                    try:
                        produce(topic, value, key, partition, report, None, timestamp_ms, headers)
                        break
                    except BufferError:  # the queue is full: let it drain
                        self.producer.poll(0.01)
                except ck.KafkaException as error:
                    if error.args[0].code() not in REFUSES_RECORD:
                        raise self._not_written(topic, error.args[0]) from error
                    self.deliveries.refused.append(Refusal(record, error.args[0], certain=True))
                    break
                except (TypeError, ValueError, OverflowError) as error:  # a header or a timestamp that Kafka has no form for
                    invalid = ck.KafkaError(ck.KafkaError._INVALID_ARG, str(error))
                    self.deliveries.refused.append(Refusal(record, invalid, certain=True))
                    break
        if found := self.deliveries.refused[refused:]:
            raise NotCommittedError(f"writing to {found[0].record.topic}: {describe(found[0].error)}")

    def commit(self, offsets: list[ck.TopicPartition], reader: Reader, group: Any) -> None:
        """Makes everything written and ``offsets`` final.

        Raises:
            NotCommittedError: Nothing became final; the bundle's records must be read again.
            ObstructedError: The same, and a topic or a right is missing.
            FencedError: A newer process of this instance took over.
            KafkaError: Trying again would not help.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Forgets what was written since the last commit, where that is possible.

        Raises:
            OutcomeUnknownError: Whether the commit before it has failed, as it seemed, is not known.
        """

    def take_deliveries(self) -> Deliveries:
        """What was not written since the last call. Called after ``abort``: then all reports are there."""
        with contextlib.suppress(ck.KafkaException):  # that it is fatal, the next call says
            self.producer.poll(0)
        taken = dataclasses.replace(self.deliveries)
        self.deliveries.clear()
        return taken

    def to_write_again(self, outputs: list[OutputRecord], unwritten: Collection[int]) -> list[OutputRecord]:
        """Returns the outputs of a bundle that are to be written again after ``abort``.

        Args:
            outputs: All of them, mended.
            unwritten: The indexes of those that were not written before.
        """
        raise NotImplementedError

    def commit_last(self, offsets: list[ck.TopicPartition], reader: Reader) -> None:
        """Commits before the reader closes what ``commit`` may have left on its way: nothing, in a transaction."""

    def close(self) -> None:
        """Ends the producer, and what ``under_claim`` has begun: else writer and claim keep each other in memory."""
        self._replace_by = None
        self.producer.purge()
        self.producer.flush(1)

    def _partition_of(self, topic: str, key: bytes | None, source_partition: int) -> int:
        """The partition to write to; -1: where the key says."""
        return -1 if key is not None else source_partition % self._partitions(topic)

    def _partitions(self, topic: str) -> int:
        count = self._counts.get(topic)
        if count is None:
            found = self.producer.list_topics(topic, timeout=CALL_TIMEOUT_S).topics[topic]
            if found.error is not None:
                raise ck.KafkaException(found.error)
            count = self._counts[topic] = len(found.partitions) or 1
        return count

    def _not_written(self, topic: str, error: ck.KafkaError) -> KafkaError:
        return (
            NotCommittedError(f"writing to {topic}: {describe(error)}")
            if is_transient(error)
            else self._permanent(topic, error)
        )

    def _permanent(self, topic: str, error: ck.KafkaError) -> KafkaError:
        kind = ObstructedError if error.code() in CURABLE else KafkaError
        return kind(f"writing to {topic}: {describe(error)}")

    def _raise_obstacle(self) -> None:
        """Asks Kafka why outputs are not taken: librdkafka goes on asking for a topic that is gone, and says nothing."""
        topics = self.deliveries.topics()
        if topics and (found := self.obstacles.find(topics)):
            raise ObstructedError("; ".join(found), outcome_unknown=True)

    def _raise_permanent_failure(self) -> None:
        failure = self.deliveries.failure
        if failure is not None and failure[1].code() in PERMANENT:
            raise self._permanent(*failure)


def _for_librdkafka(timestamp_ms: int | None, headers: Headers) -> tuple[int, Headers]:
    """The timestamp and the headers to write where librdkafka can't be given the timestamp as it is.

    It takes 0 for the current time (``rd_kafka_msg_new0``): such a record gets the next timestamp there is, so that it stays
    in its place in time, and a header with the true one. No timestamp is -1, which Kafka stores as none.
    """
    return (NO_TIMESTAMP, headers) if timestamp_ms is None else (1, with_timestamp(headers, timestamp_ms))
