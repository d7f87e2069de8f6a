"""The source's restriction: a count of polls.

Positions live in Kafka, as the group's committed offsets, so there is nothing else to remember: a bundle is one poll, and
its residual is "poll again". A restriction that held offsets would be a second checkpoint, free to disagree with the first.
"""

from __future__ import annotations

from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider


class PollTracker(RestrictionTracker):
    """Lets one poll be claimed, then checkpoints; unbounded."""

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
        """Nothing is ever left undone: what was not committed is read again."""
        return True

    def current_progress(self) -> RestrictionProgress:
        """An unbounded source knows no end."""
        return RestrictionProgress(completed=0, remaining=1)

    def is_bounded(self) -> bool:
        """Kafka does not end."""
        return False

    def try_split(self, fraction_of_remainder: float) -> tuple[int, int] | None:
        """Checkpoints (fraction 0); a poll can't be divided otherwise."""
        if self._checkpointed or fraction_of_remainder != 0:
            return None
        self._checkpointed = True
        return self._polls, self._polls


class Polls(RestrictionProvider):
    """The restriction provider of the source."""

    def initial_restriction(self, element: object) -> int:
        """Starts at no polls."""
        return 0

    def create_tracker(self, restriction: int) -> PollTracker:
        """Tracks one poll."""
        return PollTracker(restriction)

    def restriction_size(self, element: object, restriction: int) -> int:
        """All polls weigh the same."""
        return 1

    def restriction_coder(self) -> coders.Coder:
        """A number."""
        return coders.VarIntCoder()
