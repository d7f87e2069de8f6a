"""The restriction of the native source: a count of polls.

Kafka holds the positions, as the group's committed offsets. So one bundle is one poll, and its residual is the next poll. A
restriction with offsets would be a second checkpoint, which could contradict the first.
"""

from __future__ import annotations

from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider


class PollTracker(RestrictionTracker):
    """Tracks one poll. It can be claimed once; then the restriction is checkpointed.

    Args:
        polls: How many polls were made before.
    """

    def __init__(self, polls: int):
        self._polls = polls
        self._claimed = False
        self._checkpointed = False

    def current_restriction(self) -> int:
        """Returns how many polls were made."""
        return self._polls

    def try_claim(self, position: int) -> bool:
        """Claims the next poll; only once, and not after a checkpoint."""
        if self._checkpointed or self._claimed:
            return False
        self._claimed = True
        self._polls = position + 1
        return True

    def check_done(self) -> bool:
        """Returns True: records that were not committed are read again, so no work is ever lost."""
        return True

    def current_progress(self) -> RestrictionProgress:
        """Returns a constant: an unbounded source has no measure of the work that remains."""
        return RestrictionProgress(completed=0, remaining=1)

    def is_bounded(self) -> bool:
        """Returns False: a topic has no end."""
        return False

    def try_split(self, fraction_of_remainder: float) -> tuple[int, int] | None:
        """Checkpoints if the fraction is 0; otherwise returns ``None``, because a poll can't be divided."""
        if self._checkpointed or fraction_of_remainder != 0:
            return None
        self._checkpointed = True
        return self._polls, self._polls


class Polls(RestrictionProvider):
    """The restriction provider of the source."""

    def initial_restriction(self, element: object) -> int:
        """Returns 0: no poll was made yet."""
        return 0

    def create_tracker(self, restriction: int) -> PollTracker:
        """Returns the tracker of the next poll."""
        return PollTracker(restriction)

    def restriction_size(self, element: object, restriction: int) -> int:
        """Returns 1: all polls count the same."""
        return 1

    def restriction_coder(self) -> coders.Coder:
        """Returns the coder of an integer."""
        return coders.VarIntCoder()
