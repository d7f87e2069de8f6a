"""The writing half of a session: ``TransactionalWriter`` (exactly once) and ``AcknowledgedWriter`` (at least once).

Both take the outputs of one bundle and then, in ``commit``, make them and the bundle's source offsets final together (one
Kafka transaction) or one after the other (outputs acknowledged first, so that nothing can be lost).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from transforms.errors import FencedError, KafkaError
from transforms.headers import with_timestamp
from transforms.kafka.config import ASSIGN_GROUP, DEFAULT_BATCH_BYTES, KafkaConfig, Partition, is_common
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.deliveries import Deliveries, Refusal, from_unwritten_on
from transforms.kafka.vendor import FENCED, NO_TIMESTAMP, PERMANENT, REFUSES_RECORD, describe, is_transient
from transforms.retry import Deadline
from transforms.types import Headers, OutputRecord

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 30.0
GIVE_UP_S = 120.0
HANG_S = 5.0
"""How long after the transaction's own time-out a call that does not come back is given up for good."""

TAKEOVER_S = 10.0
"""How long a newer process of our name has, after it fenced our producer, to be seen as a member of the group."""

MAX_REPLACED = 3
"""How many producers in a row may be fenced before they have done anything."""


class NotCommittedError(KafkaError):
    """Nothing of this bundle became visible; read its records again."""


class OutcomeUnknownError(NotCommittedError):
    """The producer was lost in mid-commit: what the group has committed tells from where to read again."""


class Writer:
    """A producer; subclasses say what ``commit`` means.

    Args:
        config: The job's.
        open_producer: Makes the producer.
        clock: Seconds, monotonic.
    """

    aborts = False
    """Whether ``abort`` undoes all that was written since the last commit."""

    def __init__(
        self,
        config: KafkaConfig,
        open_producer: Callable[..., Any] = ck.Producer,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.config, self._clock = config, clock
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

    @property
    def open_s(self) -> float:
        """How long a transaction has been open, in seconds; 0 if there is none."""
        return 0.0

    @property
    def transaction_too_old(self) -> bool:
        """Whether a transaction has been open for half of ``transaction.timeout.ms``, after which Kafka aborts it."""
        return False

    def write(self, records: Iterable[OutputRecord]) -> None:
        """Hands records to librdkafka, which sends them in the background, in order per output partition.

        A keyed record goes where its key says. A null key has no place of its own: it goes to the partition of the same
        number as its source's (modulo the count), which keeps the order of the input.

        Raises:
            NotCommittedError: The bundle's transaction has failed already, or a record is refused (``deliveries`` has it).
            KafkaError: Trying again would not help.
        """
        produce, report, bind = self.producer.produce, self.deliveries.report, functools.partial
        refused = len(self.deliveries.refused)
        for record in records:
            topic, key, value, headers, timestamp_ms, source, _ = record
            if not timestamp_ms:
                timestamp_ms, headers = _for_librdkafka(timestamp_ms, headers)
            while True:
                try:
                    partition = -1 if key is not None else source[1] % self._partitions(topic)
                    try:
                        produce(topic, value, key, partition, bind(report, record), None, timestamp_ms, headers)
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
        for refusal in self.deliveries.refused[refused:]:
            raise NotCommittedError(f"writing to {refusal.record.topic}: {describe(refusal.error)}")

    def commit(self, offsets: list[ck.TopicPartition], reader: Reader, group: Any) -> None:
        """Makes everything written and ``offsets`` final.

        Raises:
            NotCommittedError: Nothing became final; the bundle's records must be read again.
            FencedError: A newer process of this instance took over.
            KafkaError: Trying again would not help.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Forgets what was written since the last commit, where that is possible."""

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

    def commit_last(self, offsets: Mapping[Partition, int], reader: Reader) -> None:
        """Commits before the reader closes what ``commit`` may have left on its way: nothing, in a transaction."""

    def close(self) -> None:
        """Ends the producer."""
        self.producer.purge()
        self.producer.flush(1)

    def _partitions(self, topic: str) -> int:
        count = self._counts.get(topic)
        if count is None:
            count = len(self.producer.list_topics(topic, timeout=CALL_TIMEOUT_S).topics[topic].partitions) or 1
            self._counts[topic] = count
        return count

    def _not_written(self, topic: str, error: ck.KafkaError) -> KafkaError:
        return (
            NotCommittedError(f"writing to {topic}: {describe(error)}")
            if is_transient(error)
            else self._permanent(topic, error)
        )

    def _permanent(self, topic: str, error: ck.KafkaError) -> KafkaError:
        return KafkaError(f"writing to {topic}: {describe(error)}")

    def _raise_permanent_failure(self) -> None:
        failure = self.deliveries.failure
        if failure is not None and failure[1].code() in PERMANENT:
            raise self._permanent(*failure)


class TransactionalWriter(Writer):
    """One Kafka transaction a bundle, begun with its first output (KIP-98, KIP-447).

    Args:
        config: The job's.
        open_producer: Makes the producer.
        clock: Seconds, monotonic.
        open_admin: Makes the admin client, which is asked for the members of the group.
        sleep: Waits so many seconds.
    """

    aborts = True

    def __init__(
        self,
        config: KafkaConfig,
        open_producer: Callable[..., Any] = ck.Producer,
        clock: Callable[[], float] = time.monotonic,
        open_admin: Callable[..., Any] = AdminClient,
        sleep: Callable[[float], None] = time.sleep,
    ):
        super().__init__(config, open_producer, clock)
        self._open_admin, self._sleep = open_admin, sleep
        self._timeout_s = float(config.producer_properties()["transaction.timeout.ms"]) / 1000
        self._begun_at: float | None = None
        self._consumer: ck.Consumer | None = None
        self._initialize()

    @property
    def open_s(self) -> float:
        """As ``Writer.open_s``."""
        return 0.0 if self._begun_at is None else self._clock() - self._begun_at

    @property
    def transaction_too_old(self) -> bool:
        """As ``Writer.transaction_too_old``."""
        return self.open_s > self._timeout_s / 2

    def write(self, records: Iterable[OutputRecord]) -> None:
        """As ``Writer.write``, inside the bundle's transaction."""
        self._begin()
        super().write(records)

    def commit(self, offsets: list[ck.TopicPartition], reader: Reader, group: Any) -> None:
        """Commits outputs and offsets in one transaction; ``group`` is the metadata the records were read under."""
        self._consumer = reader.consumer
        self._begin()  # offsets alone: the position moved over transaction markers
        try:
            self._send_offsets(offsets, group)
            self._call(self.producer.commit_transaction)
        except OutcomeUnknownError as error:
            self._start_anew(error)
            raise
        self._begun_at = None

    def _start_anew(self, why: OutcomeUnknownError) -> None:
        """Leaves the producer behind; its successor of the same ``transactional.id`` ends what it has left open.

        Raises:
            FencedError: A newer process of this instance has taken over.
            KafkaError: Kafka fences every new producer, too, and nobody is seen who took over.
        """
        log.warning("%s; starting a new producer", why)
        self._replace()
        self._initialize()

    def _replace(self) -> None:
        self.producer.purge()
        self.producer, self._begun_at = self._open(), None
        self.deliveries.clear()

    def _initialize(self) -> None:
        """Fences a former self and aborts what it left open.

        That may cross with the coordinator's own abort, which fences the new producer, too: then the next one is tried.
        """
        for attempt in range(MAX_REPLACED):
            try:
                self._call(self.producer.init_transactions)
                return
            except OutcomeUnknownError as error:
                if attempt == MAX_REPLACED - 1:
                    raise KafkaError(f"{error}, {MAX_REPLACED} times in a row") from error
                self._replace()

    def resize_batches(self, batch_bytes: int | None) -> None:
        """As ``Writer.resize_batches``; the new producer fences the one before."""
        super().resize_batches(batch_bytes)
        self._initialize()

    def to_write_again(self, outputs: list[OutputRecord], unwritten: Collection[int]) -> list[OutputRecord]:
        """As ``Writer.to_write_again``: all of them, as the transaction was aborted."""
        return list(outputs)

    def _send_offsets(self, offsets: list[ck.TopicPartition], group: Any) -> None:
        """Adds the offsets to the transaction.

        When the group's coordinator goes away in mid-call, librdkafka may never come back, whatever its time-out
        (https://github.com/confluentinc/librdkafka/issues/5456, open in 2.16). So it is called in a thread of its own, which
        is left behind with the producer if it hangs.
        """
        sent: concurrent.futures.Future[None] = concurrent.futures.Future()

        def send(producer: Any = self.producer) -> None:
            try:
                self._call(producer.send_offsets_to_transaction, offsets, group)
            except BaseException as error:  # noqa: BLE001  # it is raised in the thread that waits
                sent.set_exception(error)
            else:
                sent.set_result(None)

        threading.Thread(target=send, name="send-offsets", daemon=True).start()
        try:
            sent.result(self._timeout_s + HANG_S)
        except TimeoutError as error:
            raise OutcomeUnknownError("the transaction hangs since the group's coordinator went away") from error

    def _is_taken_over(self) -> bool:
        """Whether a newer process has fenced this producer. Kafka says so in the same words when nobody has.

        It fences a producer whose transaction took too long (the broker was down, this process was suspended). And after an
        abort librdkafka asks for the next epoch, which the coordinator may have moved on itself meanwhile, for instance
        because a broker died (https://github.com/confluentinc/librdkafka/issues/3928). So the group is asked. A newer
        process fences first and joins then: unless the transaction took too long, it is given time for that.

        Where no group can tell (partitions are assigned by hand), only a transaction that took too long, or a producer that
        was fenced before it began one, is taken to be nobody's doing.
        """
        too_long = self.open_s > self._timeout_s
        if self._consumer is None or self.config.assignment != ASSIGN_GROUP:
            return not too_long and self._begun_at is not None
        deadline = Deadline(0.0 if too_long else TAKEOVER_S, self._clock)
        while not self._has_a_namesake(self._consumer):
            if deadline.passed:
                return False
            self._sleep(min(deadline.left_s, TAKEOVER_S / 20))
        return True

    def _has_a_namesake(self, consumer: ck.Consumer) -> bool:
        """Whether another member of the group goes by our name, which is the consumers' ``client.id``."""
        properties = self.config.client_properties()
        admin = self._open_admin({name: value for name, value in properties.items() if is_common(name)})
        group: Any = self.config.group_id
        try:
            members = admin.describe_consumer_groups([group])[group].result(CALL_TIMEOUT_S).members
        except ck.KafkaException as error:
            # Kafka is away again, and that is why we were fenced; or it does not tell us, and what it said first holds.
            return not is_transient(error.args[0])
        ours, name = consumer.memberid(), self.config.consumer_properties()["client.id"]
        return any(member.client_id == name and member.member_id != ours for member in members)

    def abort(self) -> None:
        """Aborts the open transaction, if there is one."""
        if self._begun_at is not None:
            try:
                self._call(self.producer.abort_transaction)
            except OutcomeUnknownError as error:
                self._start_anew(error)
            self._begun_at = None
            self.deliveries.failure = None

    def _not_written(self, topic: str, error: ck.KafkaError) -> KafkaError:
        # The transaction has failed in the background (_STATE), or the producer was fenced (_FATAL): aborting tells which.
        if error.code() in (ck.KafkaError._STATE, ck.KafkaError._FATAL) or error.fatal():
            return NotCommittedError(describe(error))
        return super()._not_written(topic, error)

    def _begin(self) -> None:
        if self._begun_at is None:
            self.producer.begin_transaction()  # local: nothing is sent
            self._begun_at = self._clock()

    def _call(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Calls until it is decided: librdkafka's transactional calls may be called again after a retriable error."""
        deadline = Deadline(GIVE_UP_S)
        while True:
            try:
                call(*arguments, CALL_TIMEOUT_S)
                return
            except ck.KafkaException as raised:
                error: ck.KafkaError = raised.args[0]
                with contextlib.suppress(ck.KafkaException):  # that it is fatal is known
                    self.producer.poll(0)  # failed deliveries say more than the transaction's error
                self._raise_permanent_failure()
                if error.code() in FENCED:
                    if not self._is_taken_over():
                        what = "took too long" if self.open_s > self._timeout_s else "was lost"
                        raise OutcomeUnknownError(f"the transaction {what}, and Kafka gave up its producer") from raised
                    raise FencedError(
                        f"fenced: a newer process of group {self.config.group_id!r} with --instance_id="
                        f"{self.config.instance_id} has taken over (transactional.id {self.config.transactional_id!r}); "
                        f"give every replica an --instance_id of its own ({describe(error)})"
                    ) from raised
                if error.fatal():
                    raise KafkaError(f"the transactional producer can't go on: {describe(error)}") from raised
                if error.txn_requires_abort():
                    raise NotCommittedError(describe(error)) from raised
                if not is_transient(error) or deadline.passed:
                    raise KafkaError(f"transaction: {describe(error)}") from raised
                with contextlib.suppress(ck.KafkaException):  # the next call raises it
                    self.producer.poll(0.01)  # some errors come back at once: not to spin until it passes


class AcknowledgedWriter(Writer):
    """Outputs first; offsets are committed only after the broker has acknowledged every output of the bundle."""

    def commit(self, offsets: list[ck.TopicPartition], reader: Reader, group: Any) -> None:
        """Waits for every acknowledgement, then commits the offsets."""
        while self.producer.flush(CALL_TIMEOUT_S):
            log.warning("outputs not acknowledged for %d s: is Kafka up?", CALL_TIMEOUT_S)
        self._raise_permanent_failure()
        failed = [*filter(None, [self.deliveries.failure]), *((it.record.topic, it.error) for it in self.deliveries.refused)]
        for topic, error in failed:
            raise NotCommittedError(f"writing to {topic}: {describe(error)}")
        reader.commits.commit(reader.consumer, offsets)

    def to_write_again(self, outputs: list[OutputRecord], unwritten: Collection[int]) -> list[OutputRecord]:
        """As ``Writer.to_write_again``: those that are missing, and what came after them."""
        return from_unwritten_on(outputs, unwritten)

    def commit_last(self, offsets: Mapping[Partition, int], reader: Reader) -> None:
        """Commits the offsets and waits for it, behind those that are on their way."""
        if offsets:
            last = [ck.TopicPartition(*partition, offset) for partition, offset in offsets.items()]
            try:
                reader.consumer.commit(offsets=last, asynchronous=False)
            except ck.KafkaException as error:
                log.warning("the last offsets were not committed, their records will be read again: %s", error)


def _for_librdkafka(timestamp_ms: int | None, headers: Headers) -> tuple[int, Headers]:
    """The timestamp and the headers to write where librdkafka can't be given the timestamp as it is.

    It takes 0 for the current time (``rd_kafka_msg_new0``): such a record gets the next timestamp there is, so that it stays
    in its place in time, and a header with the true one. No timestamp is -1, which Kafka stores as none.
    """
    return (NO_TIMESTAMP, headers) if timestamp_ms is None else (1, with_timestamp(headers, timestamp_ms))


def open_writer(config: KafkaConfig) -> Writer:
    """Makes the writer for ``config.delivery``.

    Raises:
        FencedError: A newer process of this instance is already there.
        KafkaError: No broker answers, or it refuses us.
    """
    return TransactionalWriter(config) if config.delivery == "exactly_once" else AcknowledgedWriter(config)
