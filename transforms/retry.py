"""The retry policy: exponential backoff with full jitter, up to a deadline.

Full jitter (M. Brooker, "Exponential Backoff And Jitter", 2015): before attempt ``n + 1`` wait

    uniform(0, min(cap_s, base_s * 2 ** (n - 1)))

or as long as the server asked for (``Retry-After``, ``RetryInfo``), whichever is longer. Retries end ``deadline_s`` after
the first attempt began.
"""

from __future__ import annotations

import dataclasses
import random


@dataclasses.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often to try.

    Attributes:
        deadline_s: Seconds from the start of the first attempt. A failure later than this is final.
        base_s: Upper bound of the first wait, in seconds.
        cap_s: Upper bound of every wait, in seconds. A wait that the server asked for may be longer.
    """

    deadline_s: float = 60.0
    base_s: float = 0.05
    cap_s: float = 5.0

    def delay_s(self, attempts: int, retry_after_s: float | None, rng: random.Random) -> float:
        """How long to wait after ``attempts`` failed attempts, in seconds."""
        bound = min(self.cap_s, self.base_s * 2.0 ** min(attempts - 1, 30))
        return max(rng.uniform(0, bound), retry_after_s or 0.0)
