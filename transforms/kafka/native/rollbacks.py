"""``Rollbacks``: undoes a bundle that can't be committed, and gives up after too many of them in a row."""

from __future__ import annotations

import time
from collections.abc import Callable

from transforms.errors import KafkaError
from transforms.kafka.native.bundle import Bundle
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.input_watch import InputLostError
from transforms.kafka.native.obstruction import Obstruction
from transforms.kafka.native.producer import ObstructedError, OutcomeUnknownError, Writer
from transforms.observe import RollbackCause, observer

MAX_ROLLBACKS = 20
"""Rollbacks in a row, not counting those after a rebalance or for another shard, after which the job fails: another attempt
would not help."""

NEVER_COMMITTED = (
    "; nothing has committed any of them: a pipeline with ReadFromKafka ends in WriteToKafka with the same config, in the "
    "same stage"
)
"""What a job is told besides if its sink was never reached."""


class Rollbacks:
    """The rollbacks of one session.

    Args:
        writer: The session's.
        reader: The session's.
        clock: Seconds, monotonic.

    Attributes:
        obstruction: Begins where somebody has to cure why a bundle failed.
        in_a_row: How many there were since the last commit that became final.
    """

    def __init__(self, writer: Writer, reader: Reader, clock: Callable[[], float] = time.monotonic):
        self._writer, self._reader = writer, reader
        self.obstruction = Obstruction(writer, reader, clock)
        self.in_a_row = 0
        self._sink_reached = False

    def sink_reached(self) -> None:
        """Notes that a bundle has come to its commit, however that ends."""
        self._sink_reached = True

    def undo(self, bundle: Bundle) -> None:
        """Aborts the transaction of a void bundle, and seeks back to its first records; if it may be final, to the committed
        offsets.

        Raises:
            FencedError: A newer process of this instance has taken over.
            KafkaError: There were too many in a row.
        """
        both = [bundle] if bundle.before is None else [bundle.before, bundle]
        topics = {record.topic for each in both for record in each.outputs}
        obstacle = self.obstruction.why(bundle.failed, topics)
        unknown = bundle.outcome_unknown or isinstance(bundle.failed, OutcomeUnknownError)
        try:
            if obstacle is None:
                self._writer.abort()
        except ObstructedError as error:
            obstacle = error
        except OutcomeUnknownError:
            unknown = True
        if obstacle is None:
            own = not bundle.rebalanced and bundle.cause is not RollbackCause.SHARD
            self.rolled_back(bundle.void_because, own=own)
            rewind = self._reader.rewind_to_committed if unknown else self._reader.rewind
            try:
                rewind(bundle.first)
            except InputLostError as error:
                obstacle = ObstructedError(str(error))
        if obstacle is not None:  # nobody's failure to count; its end goes back to what is committed
            self.obstruction.begin(obstacle, topics, sum(each.read for each in both))
        observer().rolled_back(bundle.void_because, RollbackCause.OBSTRUCTED if obstacle is not None else bundle.cause)

    def committed(self) -> None:
        """Notes that a commit is final."""
        self.in_a_row = 0
        self.obstruction.committed()

    def rolled_back(self, reason: str, *, own: bool) -> None:
        """Counts one.

        Args:
            reason: Why the bundle could not be committed.
            own: Whether it was a failure of this session's: not a rebalance, nor another shard of the bundle.

        Raises:
            KafkaError: There were too many.
        """
        self.in_a_row += own
        if self.in_a_row > MAX_ROLLBACKS:
            missing = "" if self._sink_reached else NEVER_COMMITTED
            raise KafkaError(f"{self.in_a_row} bundles in a row could not be committed; the last because: {reason}{missing}")
