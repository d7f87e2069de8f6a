"""Access tokens for Google's APIs, from the application-default credentials.

Tokens are fetched and refreshed in a thread, so that the event loop is never blocked. google-auth offers nothing of that
kind: ``google.auth.default()`` may call the metadata server or start ``gcloud``, a refresh is a blocking request, and
``google.auth.aio`` has static tokens only.

Source: https://cloud.google.com/docs/authentication/application-default-credentials.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from google.auth import credentials as google_credentials
from google.auth import exceptions

from transforms.clients.wire.renewal import Renewal
from transforms.clients.wire.status_codes import clean
from transforms.errors import ModelError, NotServedError, OverloadedError, UnavailableError

AGAIN_S = 5.0
"""Seconds between two attempts to refresh a token that is still valid."""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_State = google_credentials.TokenState


class AccessTokens(Protocol):
    """A source of access tokens for one client."""

    async def headers(self) -> dict[str, str]:
        """Returns the headers that authenticate one request; names in lower case.

        Raises:
            UnavailableError: No token can be had now; a retry may succeed.
            NotServedError: There are no credentials, or Google refuses them.
        """

    def refused(self, headers: Mapping[str, str]) -> None:
        """Reports that the server refused these headers; the token in them is not used again."""

    async def close(self) -> None:
        """Cancels a refresh in progress."""


class NoTokens:
    """No tokens, for servers without authentication."""

    async def headers(self) -> dict[str, str]:
        """Returns no headers."""
        return {}

    def refused(self, headers: Mapping[str, str]) -> None:
        """Does nothing: there is no token to refresh."""

    async def close(self) -> None:
        """Does nothing: no refresh ever runs."""


def tokens_for(anonymous: bool, headers: Sequence[tuple[str, str]]) -> AccessTokens:
    """Returns the token source of a client.

    Args:
        anonymous: Whether requests are sent without credentials.
        headers: The headers of every request. With an ``authorization`` among them, no token is needed.
    """
    given = any(name.lower() == "authorization" for name, _ in headers)
    return NoTokens() if anonymous or given else GoogleTokens()


async def token_headers(tokens: AccessTokens, timeout_s: float, where: str) -> tuple[dict[str, str], float]:
    """Waits for the authentication headers of one request.

    Args:
        tokens: The token source.
        timeout_s: The time-out of the request in seconds, including this wait.
        where: The endpoint and its address, for error messages.

    Returns:
        The headers, and how many seconds of ``timeout_s`` are left.

    Raises:
        OverloadedError: No token came within ``timeout_s``.
        ModelError: As ``AccessTokens.headers``.
    """
    until = time.monotonic() + timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            headers = await tokens.headers()
    except TimeoutError as error:
        raise OverloadedError(f"{where}: no access token within {timeout_s:g} s", not_run=True) from error
    return headers, min(timeout_s, until - time.monotonic())


def load_default() -> Any:
    """Returns the application-default credentials. Blocks, and may call the metadata server."""
    import google.auth

    return google.auth.default(scopes=SCOPES)[0]


def new_request() -> Any:
    """Returns the HTTP transport of google-auth, for token refreshes."""
    from google.auth.transport.requests import Request

    return Request()


class GoogleTokens:
    """Tokens of google-auth credentials. For one asyncio loop; does no I/O before the first request.

    A token that expires soon is refreshed in the background, and requests use it meanwhile. A token that has expired, or
    that a server refused, is refreshed before the next request is sent.

    Args:
        load: Returns the credentials; called in a thread.
        request: Returns the transport that refreshes them.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        load: Callable[[], Any] = load_default,
        request: Callable[[], Any] = new_request,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._load, self._request = load, request
        self._renewal = Renewal(self._renew, AGAIN_S, "an access token", clock)
        self._credentials: Any = None
        self._void = True

    async def headers(self) -> dict[str, str]:
        """See ``AccessTokens``."""
        if self._void or self._credentials.token_state is _State.INVALID:
            await self._renewal.done()
        elif self._credentials.token_state is _State.STALE:
            self._renewal.try_again()
        return self._current()

    def refused(self, headers: Mapping[str, str]) -> None:
        """See ``AccessTokens``. Headers with an older token than the current one are ignored."""
        self._void = self._void or self._current() == headers

    def _current(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._credentials.apply(headers)  # the token, and the project to bill if the credentials name one
        return headers

    async def _renew(self) -> None:
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
        """See ``AccessTokens``."""
        await self._renewal.close()


def _translated(error: Exception) -> ModelError:
    text = clean(str(error.args[0] if error.args else type(error).__name__))
    if isinstance(error, exceptions.DefaultCredentialsError):
        cure = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
        return NotServedError(f"no Google application-default credentials: {text}; {cure}")
    # For a metadata server that does not answer, google-auth raises an error not to be retried, caused by the true one.
    unanswered = any(isinstance(it, exceptions.TransportError) for it in (error, error.__cause__))
    if unanswered or getattr(error, "retryable", False):
        return UnavailableError(f"no access token from Google now: {text}", not_run=True)
    return NotServedError(f"Google gives no access token for these credentials: {text}")
