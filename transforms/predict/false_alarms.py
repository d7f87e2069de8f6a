"""``FalseAlarms``: how often requests fail although nothing is wrong with their rows, and what a failure then proves."""

from __future__ import annotations

import math

FALSE_VERDICT = 1e-6
"""How probable it may be that an innocent row is blamed."""

MOST_STRIKES = 40
MEMORY = 2048
"""After so many requests, older ones count half."""

RELIABLE_STRIKES = 3
"""Up to so many strikes the server is reliable: it has answered a hundred requests for each that it failed by chance."""


class FalseAlarms:
    """Counts requests that were answered, and false alarms: requests that failed, and whose rows were all answered later.

    If a server fails a share ``p`` of all requests by chance, it fails a row ``n`` times in turn with the probability
    ``p ** n``. So a row is blamed only after as many strikes as bring that below ``FALSE_VERDICT``. The share is Laplace's
    estimate, ``(alarms + 1) / (requests + 2)``: a server that is not known yet gets more strikes than one that is.
    """

    def __init__(self) -> None:
        self._answered = self._alarms = 0.0

    def answered(self) -> None:
        """A request was answered at the first attempt, or a false alarm ended."""
        self._answered += 1
        if self._answered + self._alarms > MEMORY:
            self._answered /= 2
            self._alarms /= 2

    def alarm(self) -> None:
        """A request failed, and nothing was wrong with its rows."""
        self._alarms += 1

    @property
    def any(self) -> bool:
        """Whether there was one lately."""
        return self._alarms >= 1 / MEMORY

    @property
    def reliable(self) -> bool:
        """Whether a request that failed has a guilty row in all probability, which its trial will show."""
        return self.strikes() <= RELIABLE_STRIKES

    def strikes(self) -> int:
        """How often a row must fail, alone, before it is guilty: more than once in any case."""
        share = (self._alarms + 1) / (self._answered + self._alarms + 2)
        return max(2, min(MOST_STRIKES, math.ceil(math.log(FALSE_VERDICT) / math.log(share))))

    def strikes_in_trial(self) -> int:
        """How often a row must fail in its trial. It has failed before, or it would have none: that is a strike, too.

        Of an unreliable server it is none, as that failure came with other requests in flight, which may have caused it.
        """
        return 2 if self.reliable else self.strikes()
