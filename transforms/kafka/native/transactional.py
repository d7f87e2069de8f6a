"""``TransactionalWriter``: outputs and source offsets of a bundle become final together, in one Kafka transaction."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import confluent_kafka as ck

from transforms.errors import FencedError, KafkaError, MissingRightError
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import ASSIGN_GROUP, KafkaConfig
from transforms.kafka.grants import on_transactional_id
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.patience import Patience
from transforms.kafka.native.producer import (
    CALL_TIMEOUT_S,
    NotCommittedError,
    ObstructedError,
    OutcomeUnknownError,
    Writer,
)
from transforms.kafka.obstacles import CURABLE, Obstacles
from transforms.kafka.vendor import FENCED, REFUSED_ID, describe, is_transient
from transforms.retry import Deadline
from transforms.types import OutputRecord

log = logging.getLogger(__name__)

STEP_S = 5.0
"""How long one call of librdkafka takes at most; it is then called again."""

HANG_S = 5.0
"""How long after the transaction's own time-out a call that does not come back is given up for good."""

TAKEOVER_S = 10.0
"""How long a newer process of our name has, after it fenced our producer, to be seen as a member of the group."""

MAX_REPLACED = 3
"""How many producers in a row may be fenced before they have done anything."""


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
        open_admin: Callable[[KafkaConfig], Any] = open_admin,
        sleep: Callable[[float], None] = time.sleep,
    ):
        super().__init__(config, open_producer, clock, Obstacles(config, open_admin))
        self._open_admin, self._sleep = open_admin, sleep
        self._timeout_s = float(config.producer_properties()["transaction.timeout.ms"]) / 1000
        self._begun_at: float | None = None
        self._reader: Reader | None = None
        self._ours: set[str] = set()
        self._initialize()

    @property
    def open_s(self) -> float:
        """As ``Writer.open_s``."""
        return 0.0 if self._begun_at is None else self._clock() - self._begun_at

    @property
    def transaction_too_old(self) -> bool:
        """As ``Writer.transaction_too_old``."""
        return self.open_s > self._timeout_s / 2

    def write(self, records: Sequence[OutputRecord]) -> None:
        """As ``Writer.write``, inside the bundle's transaction."""
        self._begin()
        super().write(records)

    def commit(self, offsets: list[ck.TopicPartition], reader: Reader, group: Any) -> None:
        """Commits outputs and offsets in one transaction; ``group`` is the metadata the records were read under."""
        self._reader = reader
        self._ours.add(reader.consumer.memberid())
        self._commit(lambda: self._send_offsets(offsets, group))

    def _commit(self, add_offsets: Callable[[], None]) -> None:
        self._begin()  # offsets alone: the position moved over transaction markers
        try:
            add_offsets()
            self._call(self.producer.commit_transaction)
        except OutcomeUnknownError as error:
            self._start_anew(error)
            raise
        self._begun_at = None
        self.deliveries.delivered()

    def _start_anew(self, why: OutcomeUnknownError) -> None:
        """Leaves the producer behind; its successor of the same ``transactional.id`` ends what it has left open.

        Raises:
            FencedError: A newer process of this instance has taken over.
            KafkaError: Kafka fences every new producer, too, and nobody is seen who took over.
        """
        log.warning("%s; starting a new producer", why)
        try:
            self.renew()
        except NotCommittedError as error:  # of a claim: whether the commit is final is still not known
            raise why from error

    def renew(self) -> None:
        """As ``Writer.renew``; the new producer fences the one before, and ends the transaction that it has left open."""
        self._reopen_or_ask(goes_on=False)

    def _reopen_or_ask(self, *, goes_on: bool) -> None:
        if self._replace_by is None:
            self.reopen()
        else:
            self._replace_by(goes_on)

    def reopen(self) -> None:
        """As ``Writer.reopen``; the new producer fences the one before, and ends the transaction that it has left open."""
        self._replace()
        self._initialize()

    def _replace(self) -> None:
        super().renew()
        self._begun_at = None

    def _initialize(self) -> None:
        """Fences a former self and aborts what it left open.

        That may cross with the coordinator's own abort, which fences the new producer, too: then the next one is tried.

        Raises:
            MissingRightError: The user may not write with the transactional id.
        """
        for attempt in range(MAX_REPLACED):
            try:
                self._call(self.producer.init_transactions)
                return
            except OutcomeUnknownError as error:
                if attempt == MAX_REPLACED - 1:
                    raise KafkaError(f"{error}, {MAX_REPLACED} times in a row") from error
                self._replace()
            except KafkaError as error:
                raised = error.__cause__
                if isinstance(raised, ck.KafkaException) and raised.args[0].code() in REFUSED_ID:
                    raise MissingRightError(self._missing_right()) from error
                raise

    def _missing_right(self) -> str:
        return f"--delivery=exactly_once: {on_transactional_id(self.config)}, or use --delivery=at_least_once"

    def resize_batches(self, batch_bytes: int | None) -> None:
        """As ``Writer.resize_batches``; the new producer fences the one before."""
        self._batch_bytes = batch_bytes
        self._reopen_or_ask(goes_on=True)

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
        add_offsets = functools.partial(self.producer.send_offsets_to_transaction, offsets, group)
        threading.Thread(target=self._call_into, args=(sent, add_offsets), name="send-offsets", daemon=True).start()
        try:
            sent.result(self._timeout_s + HANG_S)
        except TimeoutError as error:
            raise OutcomeUnknownError("the transaction hangs since the group's coordinator went away") from error
        finally:
            del sent  # its error has a trace with this frame: a circle, which would keep the producer for long

    def _call_into(self, called: concurrent.futures.Future[None], call: Callable[..., Any]) -> None:
        try:
            self._call(call)
        except BaseException as error:  # noqa: BLE001  # it is raised in the thread that waits
            called.set_exception(error)
        else:
            called.set_result(None)
        finally:
            del called  # as in ``_send_offsets``

    def _lost(self, what: str, error: ck.KafkaError) -> FencedError | OutcomeUnknownError:
        """The error of a producer that can't go on: a newer process has taken over, or else ``what``.

        A new producer of ours would fence the newer process, which would be told of a third one that there is not.
        """
        successor = self._successor(fenced=error.code() in FENCED)
        if successor is None:
            return OutcomeUnknownError(what)
        return FencedError(
            f"fenced: {successor} of group {self.config.group_id!r} with --instance_id={self.config.instance_id} has taken "
            f"over (transactional.id {self.config.transactional_id!r}); give every replica an --instance_id of its own "
            f"({describe(error)})"
        )

    def _successor(self, *, fenced: bool) -> str | None:
        """The newer process that has taken over; ``None`` if there is none, which Kafka says in the same words.

        It fences a producer whose transaction took too long (the broker was down, this process was suspended). And after an
        abort librdkafka asks for the next epoch, which the coordinator may have moved on itself meanwhile, for instance
        because a broker died (https://github.com/confluentinc/librdkafka/issues/3928). So the group is asked. A newer
        process fences first and joins then: unless the transaction took too long, it is given time for that.

        Where no group can tell (partitions are assigned by hand), only a transaction that took too long, or a producer that
        was fenced before it began one, is taken to be nobody's doing. Where shards move, somebody may well have done it in
        so long a time, and a session costs little to open anew.

        Args:
            fenced: Whether Kafka has said so: a user without the right to describe the group believes it then.
        """
        too_long = self.open_s > self._timeout_s
        if self._reader is None or self.config.assignment != ASSIGN_GROUP:
            nobody = self._begun_at is None or (too_long and not self.config.shards_move)
            return None if nobody else "a newer process"
        deadline = Deadline(0.0 if too_long else TAKEOVER_S, self._clock)
        while (found := self._namesake(self._reader.consumer, fenced)) is None and not deadline.passed:
            self._sleep(min(deadline.left_s, TAKEOVER_S / 20))
        return found

    def _namesake(self, consumer: ck.Consumer, fenced: bool) -> str | None:
        """Another member of the group that goes by our name, which is the consumers' ``client.id``."""
        admin = self._open_admin(self.config)
        group: Any = self.config.group_id
        try:
            members = admin.describe_consumer_groups([group])[group].result(CALL_TIMEOUT_S).members
        except ck.KafkaException as error:
            if not fenced or is_transient(error.args[0]) or error.args[0].code() == ck.KafkaError.GROUP_ID_NOT_FOUND:
                return None  # Kafka is away again, and that is why we were fenced; or it knows no members at all
            return f"a newer process (the group can't be asked for it: {describe(error.args[0])})"
        self._ours.add(consumer.memberid())
        name = self.config.consumer_properties()["client.id"]
        for member in members:
            # One that we were ourselves, until Kafka lost us, stays in the group until its session times out.
            if member.client_id == name and member.member_id not in self._ours:
                return f"a newer process (member {member.member_id} at {member.host.lstrip('/')})"
        return None

    def abort(self) -> None:
        """Aborts the open transaction, if there is one.

        Raises:
            OutcomeUnknownError: Kafka did not take the abort, and a new producer was started. What looked like a commit that
                had failed may be final.
        """
        if self._begun_at is not None:
            try:
                self._call(self.producer.abort_transaction)
            except OutcomeUnknownError as error:
                self._start_anew(error)
                raise
            self._begun_at = None
            self.deliveries.failure = None
            self.deliveries.given_up()

    def _not_written(self, topic: str, error: ck.KafkaError) -> KafkaError:
        # The transaction has failed in the background (_STATE), or the producer was fenced (_FATAL): aborting tells which.
        if error.code() in (ck.KafkaError._STATE, ck.KafkaError._FATAL) or error.fatal():
            return NotCommittedError(describe(error))
        return super()._not_written(topic, error)

    def _begin(self) -> None:
        """Local: nothing is sent. But the producer may have been lost in the background since its last transaction."""
        if self._begun_at is None:
            try:
                self._call(lambda _: self.producer.begin_transaction())
            except OutcomeUnknownError as error:
                self._start_anew(error)
                raise
            self._begun_at = self._clock()

    def _call(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Calls until it is decided: librdkafka's transactional calls may be called again after a retriable error.

        While Kafka is away that may take for ever, as with at least once: nothing is lost by waiting. But a broker that died
        in mid-call and came back may leave a call that never ends, whatever librdkafka's version: it asks to be called
        again, and again. Kafka itself gives up a transaction at its time-out. So a call that lasts longer, while Kafka
        answers others, is given up with its producer.
        """
        with Patience("transaction", self._clock) as patience:
            self._decide(patience, self.producer, call, *arguments)

    def _decide(self, patience: Patience, producer: Any, call: Callable[..., Any], *arguments: Any) -> None:
        while True:
            try:
                call(*arguments, STEP_S)
                return
            except ck.KafkaException as raised:
                error: ck.KafkaError = raised.args[0]
                with contextlib.suppress(ck.KafkaException):  # that it is fatal is known
                    self.producer.poll(0)  # failed deliveries say more than the transaction's error
                self._raise_permanent_failure()
                if error.code() in FENCED:
                    what = "took too long" if self.open_s > self._timeout_s else "was lost"
                    raise self._lost(f"the transaction {what}, and Kafka gave up its producer", error) from raised
                if error.code() in CURABLE:
                    raise ObstructedError(describe(error)) from raised
                if error.code() == ck.KafkaError.INVALID_TXN_STATE:  # librdkafka ends one that the broker never saw begin
                    raise OutcomeUnknownError(
                        "Kafka does not know the transaction, and librdkafka gave up its producer"
                    ) from raised
                if error.fatal():
                    raise KafkaError(f"the transactional producer can't go on: {describe(error)}") from raised
                if error.txn_requires_abort():
                    raise NotCommittedError(describe(error)) from raised
                if self.producer is not producer:
                    raise OutcomeUnknownError("the producer was left behind") from raised
                if error.code() == ck.KafkaError._TIMED_OUT:
                    self._raise_obstacle()
                    if self.open_s > self._timeout_s + HANG_S and self.obstacles.kafka_answers():
                        raise self._lost("the transaction hangs, although Kafka answers", error) from raised
                if not is_transient(error) or not patience.lasts(error):
                    raise KafkaError(f"transaction: {describe(error)}") from raised
                with contextlib.suppress(ck.KafkaException):  # the next call raises it
                    self.producer.poll(0.01)  # some errors come back at once: not to spin until it passes
