"""``Hold``: which requests wait for a server that is down, as one state that the observer hears of.

The *hold* (``on_unavailable=hold``) is a circuit breaker over the whole job. Closed: requests flow. Open: the server is
down, every request waits for its next try, and nothing is committed. Half open: a waiting request is tried again, and if it
fails, a probe is sent. The first answer closes the breaker (Nygard, "Release It!", 2007).
"""

from __future__ import annotations

from transforms.observe import waits, waits_no_more


class Hold:
    """The hold of one dispatcher: it begins with the first request that waits and ends with the last."""

    def __init__(self) -> None:
        self._tokens: set[object] = set()

    @property
    def on(self) -> bool:
        """Whether a request waits."""
        return bool(self._tokens)

    def begin(self, token: object, reason: str) -> None:
        """The request of ``token`` waits, because of ``reason``. May be called again."""
        self._tokens.add(token)
        waits(self, f"the model server: {reason}")

    def end(self, token: object) -> None:
        """The request of ``token`` waits no longer, if it did."""
        if token in self._tokens:
            self._tokens.discard(token)
            if not self._tokens:
                waits_no_more(self)
