"""``Outputs``: writes and commits the outputs of a bundle, even if Kafka refuses some of them for their content.

A refused output (too large, no key, a timestamp too far away) is mended, and the bundle's outputs are written again: in a
new transaction, with no record read or scored twice. Only failures other than a refusal make the bundle void.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import confluent_kafka as ck

from transforms.headers import ERROR_CLASS
from transforms.kafka.native.bundle import Bundle
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.mending import ALONE, Mender
from transforms.kafka.native.producer import NotCommittedError, ObstructedError, OutcomeUnknownError, Writer
from transforms.memory import output_bytes
from transforms.types import STAGE_WRITE, OutputRecord


class Outputs:
    """The writing side of a session.

    Args:
        writer: Writes and commits.
        mender: Mends what is refused.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, writer: Writer, mender: Mender, clock: Callable[[], float] = time.monotonic):
        self._writer, self._mender, self._clock = writer, mender, clock

    def add(self, bundle: Bundle, records: list[OutputRecord]) -> None:
        """Adds outputs to a bundle; ``write`` hands them on."""
        records = self._mender.foresee(records)
        bundle.outputs.extend(records)
        bundle.output_bytes += output_bytes(records)
        bundle.buffered.extend(records)
        bundle.written += len(records)
        for record in [record for record in records if record[6] is not None]:  # failed_stage, by its place: half the time
            error_class = dict(record.headers)[ERROR_CLASS].decode()  # type: ignore[union-attr]
            bundle.dead[str(record.failed_stage), error_class] += 1

    def write(self, bundle: Bundle) -> None:
        """Hands buffered outputs to the producer. After a refusal they stay buffered, and wait for the commit.

        Raises:
            NotCommittedError: The bundle can't be committed any more.
            KafkaError: Trying again would not help.
        """
        try:
            self._writer.write(bundle.buffered)
        except ObstructedError:
            raise
        except NotCommittedError:
            if not self._mend(bundle):
                raise
        else:
            bundle.buffered = []

    def postpone(self, bundle: Bundle) -> None:
        """Aborts a transaction that is open for too long, and has all outputs so far wait for the commit in a new one.

        While it is open, it blocks every ``read_committed`` reader, and in the end Kafka would abort it. The records are not
        asked for again: that costs a slow model server time, and money where requests are paid for.

        Raises:
            NotCommittedError: The bundle can't be committed any more.
        """
        if not self._mend(bundle):
            bundle.buffered = list(bundle.outputs)

    def commit(self, bundle: Bundle, offsets: list[ck.TopicPartition], reader: Reader) -> float:
        """Makes the outputs and ``offsets`` final, as ``Writer.commit``; returns the time when that is done.

        The attempts end: each one replaces outputs, an output is replaced by a dead letter once, and a dead letter gets
        shorter each time. One of which nothing is left to change ends the job.
        """
        opened_at = self._clock() - self._writer.open_s if self._writer.aborts else None
        self._commit(bundle, offsets, reader)
        now = self._clock()
        bundle.transaction_s = now - opened_at if opened_at is not None else None
        return now

    def _commit(self, bundle: Bundle, offsets: list[ck.TopicPartition], reader: Reader) -> None:
        while True:
            try:
                if bundle.buffered:
                    self._writer.write(bundle.buffered)
                    bundle.buffered = []
                self._writer.commit(offsets, reader, bundle.group)
                return
            except (OutcomeUnknownError, ObstructedError):
                raise
            except NotCommittedError:
                if not self._mend(bundle):
                    raise

    def committed(self) -> None:
        """A commit has become final; batches of one are over some bundles after the last refusal."""
        if self._mender.committed() and self._writer.batch_bytes <= ALONE:
            self._writer.resize_batches(None)

    def close(self) -> None:
        """Closes the mender's connections; the writer is its owner's."""
        self._mender.close()

    def _mend(self, bundle: Bundle) -> bool:
        """After a write or a commit that failed: undoes it, and mends outputs that were refused.

        Returns:
            Whether the bundle may be committed now.

        Raises:
            KafkaError: Kafka refuses what can't be mended.
        """
        self._writer.abort()
        deliveries = self._writer.take_deliveries()
        if deliveries.failure is not None and not self._writer.aborts:
            return False  # what became of the others is not known
        if deliveries.refused:
            mended = self._mender.mend(bundle.outputs, deliveries.refused, self._writer.batch_bytes)
            missing = set(map(id, deliveries.unwritten()))
            unwritten = {at for at, record in enumerate(bundle.outputs) if id(record) in missing}
            bundle.buffered = self._writer.to_write_again(mended.outputs, unwritten)
            bundle.outputs, bundle.mended = mended.outputs, True
            bundle.output_bytes = output_bytes(mended.outputs)
            bundle.dead.update({(STAGE_WRITE, name): count for name, count in mended.dead.items()})
            bundle.may_fail_once = self._writer.aborts
            if mended.batch_bytes is not None:
                self._writer.resize_batches(mended.batch_bytes)
            return True
        if bundle.may_fail_once:
            # librdkafka (2.16) does not reset its sequence numbers after a refused batch: the next transaction fails, too
            # (OUT_OF_ORDER_SEQUENCE_NUMBER, "skipped sequence numbers"), and the one after it does not.
            bundle.may_fail_once = False
            bundle.buffered = list(bundle.outputs)
            return True
        return False
