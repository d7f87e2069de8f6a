"""``ServedVersion``: which version answers, for protocols whose answers do not say so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from transforms.errors import ModelError

VERSION_REFRESH_S = 5.0


class ServedVersion:
    """A version that is looked up again now and then, beside the requests, which never wait for it.

    Args:
        look: Asks the server, within so many seconds; ``None`` if it does not tell.
        fixed: The version that the URI asks for, which then is the one that answers.
        refresh_s: Seconds after which it is looked up again.
        clock: Returns the seconds of a monotonic clock.

    Attributes:
        name: The version as last seen; empty if it is not known.
        known: Whether the server tells, so that it is worth asking again.
    """

    def __init__(
        self,
        look: Callable[[float], Awaitable[str | None]],
        fixed: str | int | None,
        refresh_s: float = VERSION_REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._look, self._fixed, self._refresh_s, self._clock = look, fixed, refresh_s, clock
        self.name = "" if fixed is None else str(fixed)
        self.known = False
        self._read_at = clock()
        self._refresh: asyncio.Task[None] | None = None

    def read(self, name: str | None) -> None:
        """Takes over what the metadata said; ``None``: nothing."""
        self.known, self._read_at = name is not None, self._clock()
        if name is not None:
            self.name = name

    def refresh_soon(self, timeout_s: float) -> None:
        """Looks again in the background, if it is time to."""
        if not self.known or self._fixed is not None or self._refresh is not None:
            return
        if self._clock() - self._read_at >= self._refresh_s:
            self._refresh = asyncio.create_task(self._look_again(timeout_s))

    async def close(self) -> None:
        """Ends a look under way."""
        refresh, self._refresh = self._refresh, None
        if refresh is not None:
            refresh.cancel()
            await asyncio.gather(refresh, return_exceptions=True)

    async def _look_again(self, timeout_s: float) -> None:
        try:
            self.name = await self._look(timeout_s) or self.name
        except ModelError:
            pass  # the requests themselves will tell
        finally:
            self._read_at = self._clock()
            self._refresh = None
