"""AWS credentials of one client.

They are found (``transforms/aws.py``) and refreshed in a thread, because both may read files, start a process or ask a
server, and botocore does it in blocking calls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from botocore import exceptions
from botocore.credentials import ReadOnlyCredentials

from transforms.aws import CURE
from transforms.clients.wire.renewal import Renewal
from transforms.clients.wire.status_codes import clean
from transforms.errors import ModelError, NotServedError, OverloadedError, UnavailableError, is_sick

AGAIN_S = 30.0
"""Seconds between two attempts to refresh credentials that are still valid. botocore tries it in their last 15 minutes."""

_UNREACHABLE = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.MetadataRetrievalError,
)
_BUSY = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure"})


class Credentials(Protocol):
    """A source of credentials for one client."""

    async def current(self) -> ReadOnlyCredentials:
        """Returns credentials that have not expired.

        Raises:
            UnavailableError: None can be had now; a retry may succeed.
            NotServedError: There are none, or AWS refuses to give them.
        """

    def refused(self, used: ReadOnlyCredentials) -> None:
        """Reports that AWS refused these: they are read again before the next request."""

    async def close(self) -> None:
        """Cancels a refresh in progress."""


async def current_within(credentials: Credentials, timeout_s: float, where: str) -> ReadOnlyCredentials:
    """Waits for the credentials of one request.

    Args:
        credentials: The source.
        timeout_s: The time-out in seconds.
        where: The endpoint and its address, for error messages.

    Raises:
        OverloadedError: None came within ``timeout_s``.
        ModelError: As ``Credentials.current``.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await credentials.current()
    except TimeoutError as error:
        raise OverloadedError(f"{where}: no AWS credentials within {timeout_s:g} s", not_run=True) from error


class AwsCredentials:
    """Credentials of botocore. For one asyncio loop; does no I/O before the first request.

    Those that expire soon are refreshed in the background, and requests use the old ones meanwhile. Those that have expired
    are refreshed before the next request is sent, and for those that AWS refused the whole chain is searched again: a file
    may have others by now.

    Args:
        load: Returns botocore's credentials; called in a thread.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, load: Callable[[], Any], clock: Callable[[], float] = time.monotonic):
        self._load = load
        self._renewal = Renewal(self._renew, AGAIN_S, "AWS credentials", clock)
        self._source: Any = None
        self._current: ReadOnlyCredentials | None = None
        self._void = True

    async def current(self) -> ReadOnlyCredentials:
        """See ``Credentials``."""
        if self._current is None or self._void or self._expires_within(0):
            await self._renewal.done()
        elif self._expires_within(None):
            self._renewal.try_again()
        assert self._current is not None
        return self._current

    def refused(self, used: ReadOnlyCredentials) -> None:
        """See ``Credentials``. Older ones than the current are ignored."""
        self._void = self._void or used == self._current

    def _expires_within(self, seconds: int | None) -> bool:
        """Whether the current ones expire within these seconds; ``None`` for botocore's 15 minutes."""
        refresh_needed = getattr(self._source, "refresh_needed", None)  # keys that never expire do not have it
        return refresh_needed is not None and bool(refresh_needed(seconds))

    async def _renew(self) -> None:
        void = self._void
        try:
            source, found = await asyncio.to_thread(self._renew_now, None if void else self._source)
        except ModelError:
            raise
        except Exception as error:
            if is_sick(error):
                raise
            raise _translated(error) from error
        self._source, self._current, self._void = source, found, False

    def _renew_now(self, source: Any) -> tuple[Any, ReadOnlyCredentials]:
        source = self._load() if source is None else source
        if source is None:
            raise NotServedError(f"no AWS credentials: {CURE}")
        return source, source.get_frozen_credentials()

    async def close(self) -> None:
        """See ``Credentials``."""
        await self._renewal.close()


def _translated(error: Exception) -> ModelError:
    """Returns the error for what the chain raised, which may be anything: a process that gives credentials is anybody's."""
    text = clean(str(error)) or type(error).__name__
    code = str(error.response.get("Error", {}).get("Code")) if isinstance(error, exceptions.ClientError) else ""
    if isinstance(error, _UNREACHABLE) or code in _BUSY:
        return UnavailableError(f"no AWS credentials now: {text}", not_run=True)
    return NotServedError(f"no AWS credentials: {text}; {CURE}")
