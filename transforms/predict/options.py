"""``DispatchOptions``: how requests are made, and what to do while the server is down."""

from __future__ import annotations

import dataclasses

from transforms.errors import ConfigError
from transforms.predict.pace import RateLimits
from transforms.retry import RetryPolicy

HOLD = "hold"
DEAD_LETTER = "dead_letter"
FAIL = "fail"

LOOK_S = 2.5
"""After how many seconds without records the server is looked at. With nothing to ask, a job would not notice its death."""

PART_DEADLINE_S = 2.0
"""How long a part of a batch is retried at least, if the whole batch has used its deadline already."""


@dataclasses.dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How requests are made.

    Attributes:
        request_timeout_s: Time-out of one request, in seconds.
        retry: When to retry, and for how long.
        on_unavailable: What to do if the server is still down at the deadline: ``hold`` (wait for it), ``dead_letter`` or
            ``fail``.
        max_in_flight: Most requests in flight; ``None`` adapts to the server.
        look_s: After how many seconds without records the server is looked at; 0: never.
        limits: How much a process may ask for in a second. What is above that waits.
    """

    request_timeout_s: float = 30.0
    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)
    on_unavailable: str = HOLD
    max_in_flight: int | None = None
    look_s: float = LOOK_S
    limits: RateLimits = dataclasses.field(default_factory=RateLimits)

    def __post_init__(self) -> None:
        """Refuses any other value of ``on_unavailable``."""
        if self.on_unavailable not in (HOLD, DEAD_LETTER, FAIL):
            raise ConfigError([f"on_unavailable={self.on_unavailable!r}: use {HOLD}, {DEAD_LETTER} or {FAIL}"])

    def part_deadline_s(self, elapsed_s: float) -> float:
        """Returns the deadline of the parts of a batch whose first request began ``elapsed_s`` seconds ago."""
        return max(min(PART_DEADLINE_S, self.retry.deadline_s), self.retry.deadline_s - elapsed_s)
