"""Access tokens for Google's APIs: application-default credentials, fetched and renewed in a thread beside the event loop.

Neither of google-cloud-aiplatform's ways fits an asyncio client that must not stand still: ``google.auth.default()`` may ask
the metadata server or start ``gcloud``, a refresh is a blocking request, and ``google.auth.aio`` has static tokens only.
Source: https://cloud.google.com/docs/authentication/application-default-credentials.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from google.auth import credentials as google_credentials
from google.auth import exceptions

from transforms.clients.wire.status_codes import clean
from transforms.errors import ModelError, NotServedError, TransientError, UnavailableError

AGAIN_S = 5.0
"""Seconds between two attempts to renew a token that still serves."""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_State = google_credentials.TokenState


class Tokens(Protocol):
    """Whoever can say which headers prove that we may ask."""

    async def headers(self) -> dict[str, str]:
        """Returns the headers of one request, names in lower case.

        Raises:
            UnavailableError: Nobody gives out tokens now.
            NotServedError: There are no credentials, or they are refused.
        """

    def refused(self, headers: Mapping[str, str]) -> None:
        """Takes note that a server did not accept these headers."""

    async def close(self) -> None:
        """Ends what runs in the background."""


class NoTokens:
    """For servers that ask for none."""

    async def headers(self) -> dict[str, str]:
        """Returns none."""
        return {}

    def refused(self, headers: Mapping[str, str]) -> None:
        """Has nothing to renew."""

    async def close(self) -> None:
        """Has nothing to end."""


def tokens_for(anonymous: bool, headers: Sequence[tuple[str, str]]) -> Tokens:
    """Returns where a client's tokens come from: nowhere if it needs none, or was given an ``authorization`` of its own.

    Args:
        anonymous: Whether the server is asked without credentials.
        headers: The headers that go with every request.
    """
    given = any(name.lower() == "authorization" for name, _ in headers)
    return NoTokens() if anonymous or given else GoogleTokens()


async def token_headers(tokens: Tokens, timeout_s: float, where: str) -> tuple[dict[str, str], float]:
    """Returns the headers of one request, and how much of its time is left.

    Args:
        tokens: Where they come from.
        timeout_s: How long the request may take, this wait included.
        where: The endpoint and its address, for the message.

    Raises:
        TransientError: There was no token in time.
        ModelError: There is none.
    """
    until = time.monotonic() + timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            headers = await tokens.headers()
    except TimeoutError as error:
        raise TransientError(f"{where}: no access token within {timeout_s:g} s") from error
    return headers, min(timeout_s, until - time.monotonic())


def load_default() -> Any:
    """Returns the application-default credentials. Blocks, and may ask the metadata server."""
    import google.auth

    return google.auth.default(scopes=SCOPES)[0]


def new_request() -> Any:
    """Returns what google-auth makes its own requests with."""
    from google.auth.transport.requests import Request

    return Request()


class GoogleTokens:
    """Tokens of google-auth credentials. For one asyncio loop; asks nobody before the first request.

    A token that soon expires is renewed in the background while it still serves; one that has expired, or that a server did
    not accept, before the next request.

    Args:
        load: Returns the credentials; called in a thread.
        request: Returns the transport to refresh them with.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        load: Callable[[], Any] = load_default,
        request: Callable[[], Any] = new_request,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._load, self._request, self._clock = load, request, clock
        self._again_at = clock()
        self._credentials: Any = None
        self._renewal: asyncio.Task[None] | None = None
        self._void = True

    async def headers(self) -> dict[str, str]:
        """See ``Tokens``."""
        if self._void or self._credentials.token_state is _State.INVALID:
            renewal = self._renew()
            # Not awaited itself: many requests wait for it, and one of them giving up must not stop it for the others.
            await asyncio.wait([renewal])
            if renewal.cancelled():
                raise UnavailableError("the client was closed while it waited for an access token")
            renewal.result()
        elif self._credentials.token_state is _State.STALE and self._clock() >= self._again_at:
            self._renew()
        return self._current()

    def refused(self, headers: Mapping[str, str]) -> None:
        """See ``Tokens``. A late answer to a token renewed meanwhile counts for nothing."""
        self._void = self._void or self._current() == headers

    def _current(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._credentials.apply(headers)  # the token, and the project to bill if the credentials name one
        return headers

    def _renew(self) -> asyncio.Task[None]:
        if self._renewal is None or self._renewal.done():
            self._again_at = self._clock() + AGAIN_S
            self._renewal = asyncio.create_task(self._renewed())
            # If nobody waits for it, a later request tries again, and tells once the token is of no use any more.
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._renewal

    async def _renewed(self) -> None:
        try:
            await asyncio.to_thread(self._renew_now)
        except exceptions.GoogleAuthError as error:
            raise _translated(error) from error
        self._void = False

    def _renew_now(self) -> None:
        if self._credentials is None:
            self._credentials = self._load()
        self._credentials.refresh(self._request())

    async def close(self) -> None:
        """See ``Tokens``."""
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)


def _translated(error: Exception) -> ModelError:
    text = clean(str(error.args[0] if error.args else type(error).__name__))
    if isinstance(error, exceptions.DefaultCredentialsError):
        cure = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
        return NotServedError(f"no Google application-default credentials: {text}; {cure}")
    if isinstance(error, exceptions.TransportError) or getattr(error, "retryable", False):
        return UnavailableError(f"no access token from Google now: {text}")
    return NotServedError(f"Google gives no access token for these credentials: {text}")
