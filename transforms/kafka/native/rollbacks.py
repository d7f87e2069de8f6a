"""``Rollbacks``: counts the bundles in a row that could not be committed, and gives up after too many."""

from __future__ import annotations

from transforms.errors import KafkaError

MAX_ROLLBACKS = 20
"""Rollbacks in a row, not counting those after a rebalance, after which the job fails: another attempt would not help."""

NEVER_COMMITTED = (
    "; nothing has committed any of them: a pipeline with ReadFromKafka ends in WriteToKafka with the same config, in the "
    "same stage"
)
"""What a job is told besides if its sink was never reached."""


class Rollbacks:
    """The rollbacks of one session.

    Attributes:
        in_a_row: How many there were since the last commit that became final.
    """

    def __init__(self) -> None:
        self.in_a_row = 0
        self._sink_reached = False

    def sink_reached(self) -> None:
        """Notes that a bundle has come to its commit, however that ends."""
        self._sink_reached = True

    def committed(self) -> None:
        """Notes that a commit is final."""
        self.in_a_row = 0

    def rolled_back(self, reason: str, *, rebalanced: bool) -> None:
        """Counts one.

        Args:
            reason: Why the bundle could not be committed.
            rebalanced: Whether a rebalance was why, which is nobody's failure.

        Raises:
            KafkaError: There were too many.
        """
        self.in_a_row += not rebalanced
        if self.in_a_row > MAX_ROLLBACKS:
            missing = "" if self._sink_reached else NEVER_COMMITTED
            raise KafkaError(f"{self.in_a_row} bundles in a row could not be committed; the last because: {reason}{missing}")
