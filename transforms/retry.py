"""Trying again until a deadline: ``Deadline``, the policy (``RetryPolicy``), and one piece of work (``Retries``).

The policy is full jitter (M. Brooker, "Exponential Backoff And Jitter", 2015): before attempt ``n + 1`` wait

    uniform(0, min(cap_s, base_s * 2 ** (n - 1)))

or as long as the server asked for (``Retry-After``, ``RetryInfo``), whichever is longer. Retries end ``deadline_s`` after
the first attempt began, and no server can make a wait longer than that: what it asks for is cut to what is left until the
deadline, and after it (while a job holds) to ``deadline_s``.
"""

from __future__ import annotations

import dataclasses
import email.utils
import random
import re
import time
from collections.abc import Callable, Iterator


def read_retry_after(text: str | None, now_s: float) -> float | None:
    """Reads a Retry-After header (RFC 9110, 10.2.3): seconds, or a date. A server may send anything: nothing is raised.

    Args:
        text: The header; ``None`` if there was none.
        now_s: Seconds since the epoch, for a date.

    Returns:
        The wait that the server asks for in seconds; ``None`` if it asks for none, or if that can't be read.
    """
    text = (text or "").strip(" \t")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)  # many digits make an infinity, which ``RetryPolicy`` bounds like any other wait
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now_s)
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        OSError,
    ):  # what email.utils meets in odd text
        return None


class Deadline:
    """A moment after which something is given up.

    Args:
        seconds: How far off it is.
        clock: Returns seconds, monotonic.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._at = clock() + seconds

    @property
    def passed(self) -> bool:
        """Whether the moment has come."""
        return self._clock() >= self._at

    @property
    def left_s(self) -> float:
        """Seconds until then; 0 once it has passed."""
        return max(0.0, self._at - self._clock())

    def pauses(self, step_s: float) -> Iterator[float]:
        """Yields the seconds to sleep, at most ``step_s`` each, until the deadline: for waits that look around meanwhile."""
        while (left_s := self.left_s) > 0:
            yield min(left_s, step_s)


@dataclasses.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often to try.

    Attributes:
        deadline_s: Seconds from the start of the first attempt. A failure later than this is final.
        base_s: Upper bound of the first wait, in seconds.
        cap_s: Upper bound of every wait, in seconds. A wait that the server asked for may be longer, up to the deadline.
    """

    deadline_s: float = 60.0
    base_s: float = 0.05
    cap_s: float = 5.0

    def delay_s(self, attempts: int, retry_after_s: float | None, rng: random.Random, left_s: float = 0.0) -> float:
        """How long to wait after some failed attempts, in seconds.

        Args:
            attempts: How many have failed.
            retry_after_s: What the server asked for; ``None`` for nothing.
            rng: Randomness of the jitter.
            left_s: Seconds until the deadline; 0 or less if it has passed, or is not known.
        """
        bound = min(self.cap_s, self.base_s * 2.0 ** min(attempts - 1, 30))
        drawn_s = rng.uniform(0, bound)
        if retry_after_s is None:
            return drawn_s
        return max(drawn_s, min(retry_after_s, left_s if left_s > 0 else self.deadline_s))


class Retries:
    """The failed attempts of one piece of work. The first attempt begins now.

    Args:
        policy: When to try again, and until when.
        clock: Returns seconds, monotonic.
        rng: Randomness of the jitter.

    Attributes:
        failed: How many attempts have failed.
    """

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float], rng: random.Random):
        self._policy, self._clock, self._rng = policy, clock, rng
        self._began = clock()
        self.failed = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first attempt began."""
        return self._clock() - self._began

    @property
    def exhausted(self) -> bool:
        """Whether the policy's deadline has passed, so that a failure is final."""
        return self.elapsed_s >= self._policy.deadline_s

    def delay_s(self, retry_after_s: float | None) -> float:
        """How long to wait before the next attempt, in seconds; ``retry_after_s`` is what the server asked for."""
        return self._policy.delay_s(self.failed, retry_after_s, self._rng, self._policy.deadline_s - self.elapsed_s)
