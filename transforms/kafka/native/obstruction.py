"""``Obstruction``: a session that can't use its topics waits until somebody cures the cause, and then goes on by itself.

The cause may be a deleted topic or a revoked right: neither a retry nor the end of the job cures it. The session rolls the
bundle back and abandons its producer. It stays in its group, reads nothing, and asks Kafka every ``AGAIN_S`` seconds. When
nothing is missing, it opens a new producer and reads the records again from the committed offsets. If an input topic was
missing or was made again, it opens a new consumer, too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

from transforms.errors import FencedError, ScoringError
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.input_watch import InputLostError
from transforms.kafka.native.producer import NotCommittedError, ObstructedError, Writer
from transforms.observe import observer, waits, waits_no_more

log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""How often it is looked whether the cure has come."""

TOLD_EVERY_S = 60.0
"""How often the log says what is waited for."""

TRIAL_S = 10.0
"""How long the job is shown as waiting after what seems to be the cure, if nothing is committed: it may not be one."""


class Obstruction:
    """What keeps one session from its topics.

    Args:
        writer: The session's.
        reader: The session's.
        clock: Seconds, monotonic.
    """

    def __init__(self, writer: Writer, reader: Reader, clock: Callable[[], float] = time.monotonic):
        self._writer, self._reader, self._clock = writer, reader, clock
        self._reason = ""
        self._topics: set[str] = set()
        self._unanswered = 0
        self._began_at = self._look_at = self._told_at = 0.0
        self._trial_until: float | None = None
        self._producer_lost = False

    @property
    def lasts(self) -> bool:
        """Whether nothing may be read."""
        return bool(self._reason) and self._trial_until is None

    def why(self, error: NotCommittedError | None, topics: Collection[str]) -> ObstructedError | None:
        """Returns what has kept a bundle from being committed, if somebody must cure it.

        Args:
            error: How its write or its commit failed; ``None`` if it failed for another reason.
            topics: Where its outputs go.
        """
        if error is None or isinstance(error, ObstructedError):
            return error
        # A transaction that has failed in the background does not say why.
        found = self._writer.obstacles.find(topics)
        return ObstructedError("; ".join(found)) if found else None

    def begin(self, error: ObstructedError, topics: Collection[str], read: int) -> None:
        """Leaves the producer behind, whose transaction Kafka then aborts.

        Args:
            error: What is to be cured.
            topics: The topics that are written to.
            read: How many records were read that are to be read again.

        Raises:
            FencedError: A newer process of this instance has taken over.
        """
        now = self._clock()
        if not self._reason:
            self._began_at, self._told_at, self._unanswered = now, 0.0, 0
        self._topics |= set(topics)
        self._unanswered = max(self._unanswered, read)
        self._trial_until, self._look_at, self._producer_lost = None, now + AGAIN_S, True
        found = self._writer.obstacles.find(self._topics)
        self._tell("; ".join(found) or str(error))
        self._renew()

    def over(self) -> bool:
        """Returns whether records may be read. Looks for the cure if it is time to."""
        if not self.lasts:
            if self._trial_until is not None and self._clock() >= self._trial_until:
                self.committed()  # there was nothing to commit
            return True
        now = self._clock()
        if now < self._look_at:
            return False
        self._look_at = now + AGAIN_S
        if found := self._writer.obstacles.find(self._topics):
            self._tell("; ".join(found))
            return False
        if not self._renew():
            return False
        try:
            self._reader.start_over()
        except InputLostError as error:  # again, or still
            self._tell(str(error))
            return False
        self._trial_until = now + TRIAL_S
        return True

    def committed(self) -> None:
        """A bundle was committed: nothing is in the way any more."""
        if self._reason:
            self.end()
            log.warning("what was missing is there; going on after %.0f s", self._clock() - self._began_at)
            self._reason, self._topics, self._trial_until, self._unanswered = "", set(), None, 0

    def close(self) -> None:
        """Ends the wait as the job ends, and reports the records that it leaves for the next run."""
        self.end()
        if self._reason and self._unanswered:
            observer().left_unanswered(self._unanswered)

    def end(self) -> None:
        """Ends the wait."""
        waits_no_more(self)

    def _renew(self) -> bool:
        """Opens a new producer if the last one was left behind. Returns whether Kafka takes it."""
        if not self._producer_lost:
            return True
        try:
            self._writer.renew()
        except FencedError:
            raise
        except ScoringError as error:
            self._tell(str(error))
            return False
        self._producer_lost = False
        return True

    def _tell(self, reason: str) -> None:
        now = self._clock()
        if reason != self._reason or now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            log.warning("waiting, and reading nothing: %s", reason)
        self._reason = reason
        waits(self, f"Kafka: {reason}")
