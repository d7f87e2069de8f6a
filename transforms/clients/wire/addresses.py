"""``AddressWatch``: notices when a name has got an address that it had not before.

gRPC resolves a name when it connects, and again when it loses a connection: it never learns of a replica that is added while
all the others stay. Neither does a client whose connections all live.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable

LOOK_S = 30.0
"""Seconds between two look-ups: as often as gRPC itself resolves a name at most."""

Resolve = Callable[[str, int], Awaitable[frozenset[str]]]
"""Host and port to the addresses of the host; raises ``OSError``."""


async def resolve(host: str, port: int) -> frozenset[str]:
    """Returns the addresses of a name, by the system's resolver, in a thread.

    Raises:
        OSError: It can't be resolved now.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return frozenset(str(address[0]) for *_, address in found)


def is_address(host: str) -> bool:
    """Whether a host is an address, which stays what it is, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class AddressWatch:
    """Looks a name up at intervals, in the background; requests never wait for it. For one asyncio loop.

    Args:
        host: The name.
        port: The port.
        resolve: Looks it up.
        look_s: Seconds between two look-ups.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        host: str,
        port: int,
        resolve: Resolve = resolve,
        look_s: float = LOOK_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._host, self._port, self._resolve, self._look_s, self._clock = host, port, resolve, look_s, clock
        self._known: frozenset[str] | None = None
        self._looked_at: float | None = None
        self._grown = False
        self._look: asyncio.Task[None] | None = None

    def grown(self) -> bool:
        """Returns whether there is a new address since the last call that returned True, and looks again soon.

        An address that was gone for a while is a new one when it is back.
        """
        now = self._clock()
        if self._look is None and (self._looked_at is None or now - self._looked_at >= self._look_s):
            self._looked_at = now
            self._look = asyncio.create_task(self._look_now())
        grown, self._grown = self._grown, False
        return grown

    async def _look_now(self) -> None:
        try:
            found = await self._resolve(self._host, self._port)
        except OSError:
            return  # if nothing can be resolved, the connections that are there are what is left
        finally:
            self._look = None
        self._grown = self._grown or (self._known is not None and not found <= self._known)
        self._known = found

    async def close(self) -> None:
        """Cancels a look-up in progress."""
        look = self._look
        if look is not None:
            look.cancel()
            await asyncio.gather(look, return_exceptions=True)
