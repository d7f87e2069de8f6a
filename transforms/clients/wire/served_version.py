"""``ServedVersion``: the version that answers, for protocols whose answers do not name it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from transforms.errors import ModelError
from transforms.internal_errors import is_internal

VERSION_REFRESH_S = 5.0


class ServedVersion:
    """The version that answers. It is looked up again at intervals, in the background; requests never wait for it.

    Args:
        look: Asks the server with a time-out in seconds; returns ``None`` if the server does not say.
        fixed: The version that the URI names. It is then the one that answers, and is never looked up.
        refresh_s: Seconds between two look-ups.
        clock: Returns the seconds of a monotonic clock.

    Attributes:
        name: The version at the last look-up; empty if it is not known.
        known: Whether the server says which version answers. If not, it is not asked again.
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
        """Sets the version that the metadata named; ``None`` if they named none."""
        self.known, self._read_at = name is not None, self._clock()
        if name is not None:
            self.name = name

    def refresh_soon(self, timeout_s: float) -> None:
        """Starts a look-up in the background if the last one is older than ``refresh_s``."""
        if not self.known or self._fixed is not None or self._refresh is not None:
            return
        if self._clock() - self._read_at >= self._refresh_s:
            self._refresh = asyncio.create_task(self._look_again(timeout_s))

    def of_answer(self, named: str, timeout_s: float) -> str:
        """Returns the version that an answer names; without one, that of the last look-up, and looks again soon."""
        if named:
            return named
        self.refresh_soon(timeout_s)
        return self.name

    async def close(self) -> None:
        """Cancels a look-up in progress."""
        refresh, self._refresh = self._refresh, None
        if refresh is not None:
            refresh.cancel()
            await asyncio.gather(refresh, return_exceptions=True)

    async def _look_again(self, timeout_s: float) -> None:
        try:
            self.name = await self._look(timeout_s) or self.name
        except ModelError:
            pass  # if the server has a fault, the requests themselves fail
        except Exception as error:
            if not is_internal(error):
                raise  # of this task, which nobody waits for: asyncio says it in the log
        finally:
            self._read_at = self._clock()
            self._refresh = None
