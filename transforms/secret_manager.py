"""Secrets of Google's Secret Manager: ``${secret:projects/P/secrets/S/versions/V}`` in a property or a header.

The job's options, its graph and its pickled DoFns hold only this reference. The process that opens the connection reads the
value, with its own identity. For Beam's Java transforms
``transforms/kafka/beam/java/src/scoring/SecretManagerConfigProvider.java`` does the same.

Source: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access.
"""

from __future__ import annotations

import base64
import functools
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from transforms.errors import ConfigError, SecretError

REFERENCE = re.compile(r"\$\{secret:([^}]*)\}")
NAME = re.compile(r"projects/[^/\s]+/(?:locations/(?P<location>[a-z0-9-]+)/)?secrets/[\w-]{1,255}/versions/[\w-]+")
FORM = "${secret:projects/PROJECT/secrets/NAME/versions/VERSION}"

ENDPOINT_VARIABLE = "SECRET_MANAGER_ENDPOINT"
"""Environment variable with another address of the API: a private endpoint, or a server for tests."""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
TIMEOUT_S = 10.0
WAITS_S = (1.0, 2.0, 4.0)
"""Seconds to wait before each retry, while the service is overloaded or does not answer."""


class Response(Protocol):
    """What ``requests`` answers with, as far as it is used."""

    status_code: int

    def json(self) -> Any:
        """Returns the body, read as JSON."""


Get = Callable[[str], Response]


def has_reference(text: str) -> bool:
    """Whether ``text`` refers to a secret."""
    return REFERENCE.search(text) is not None


def is_reference(text: str) -> bool:
    """Whether ``text`` is a reference and nothing else."""
    return REFERENCE.fullmatch(text) is not None


def reference_problem(text: str) -> str | None:
    """Returns what is wrong with the references in ``text``, or ``None``."""
    for name in REFERENCE.findall(text):
        if not NAME.fullmatch(name):
            return f"the secret is not named in full; write {FORM}"
    return None


def resolve(text: str, read: Callable[[str], str] | None = None) -> str:
    """Returns ``text`` with every reference replaced by the secret's value.

    Raises:
        SecretError: One can't be read.
    """
    return REFERENCE.sub(lambda match: (read or read_secret)(match.group(1)), text)


def resolve_all(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Returns the pairs with the references in their values replaced.

    Raises:
        SecretError: One can't be read.
    """
    return tuple((name, resolve(value) if isinstance(value, str) else value) for name, value in pairs)


@functools.lru_cache
def read_secret(name: str) -> str:
    """Returns a secret's value. A process asks the service for each secret once.

    Raises:
        SecretError: It can't be read; the message has its name and the cure, never its value.
    """
    return access(name, _get(endpoint(name, os.environ)))


def access(name: str, get: Get, sleep: Callable[[float], None] = time.sleep) -> str:
    """Asks for a secret.

    Args:
        name: ``projects/P/secrets/S/versions/V``, or with ``locations/L`` of a regional one.
        get: Sends GET to a path of the service.
        sleep: Waits so many seconds.

    Raises:
        SecretError: It can't be read.
    """
    if not NAME.fullmatch(name):
        raise SecretError(f"the secret is not named in full; write {FORM}")
    for wait_s in (*WAITS_S, None):
        try:
            answer = get(f"v1/{name}:access")
        except OSError as error:  # requests' exceptions are OSErrors
            problem, again = f"the service does not answer: {type(error).__name__}", True
        else:
            if answer.status_code == 200:
                return _value(name, answer)
            problem, again = _refusal(answer.status_code)
        if not again or wait_s is None:
            break
        sleep(wait_s)
    raise SecretError(f"secret {name}: {problem}")


def _refusal(status: int) -> tuple[str, bool]:
    if status in (401, 403):
        return "access is denied; grant this identity the role roles/secretmanager.secretAccessor on the secret", False
    if status == 404:
        return "there is no such secret, or not that version of it", False
    return f"the service answered HTTP {status}", status == 429 or status >= 500


def _value(name: str, answer: Response) -> str:
    try:
        return base64.b64decode(answer.json()["payload"]["data"], validate=True).decode()
    except (ValueError, KeyError, TypeError):
        raise SecretError(f"secret {name}: the value is not UTF-8 text, or the service's answer can't be read") from None


def endpoint(name: str, environ: Mapping[str, str]) -> str:
    """Returns the address of the service that has a secret: each region has a service of its own."""
    if given := environ.get(ENDPOINT_VARIABLE):
        return given.rstrip("/")
    match = NAME.fullmatch(name)
    location = match and match["location"]
    return f"https://secretmanager.{location}.rep.googleapis.com" if location else "https://secretmanager.googleapis.com"


def _get(base: str) -> Get:
    parts = urllib.parse.urlsplit(base)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise SecretError(f"{ENDPOINT_VARIABLE}={base}: use https; a secret does not travel in the clear")
    try:
        import requests
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession
    except ImportError as error:
        raise ConfigError([f"${{secret:…}}: Google's packages are missing ({error}); pip install '.[gcp]'"]) from error
    if parts.scheme == "http":  # a server for tests, on this machine: never send it an access token
        return lambda path: requests.get(f"{base}/{path}", timeout=TIMEOUT_S)
    try:
        import google.auth

        session = AuthorizedSession(google.auth.default(scopes=SCOPES)[0])
    except GoogleAuthError as error:
        raise SecretError(f"${{secret:…}}: no Google credentials here: {error}") from error

    def get(path: str) -> Response:
        try:
            answer: Response = session.get(f"{base}/{path}", timeout=TIMEOUT_S)
        except GoogleAuthError as error:
            raise SecretError(f"${{secret:…}}: Google gives no access token: {error}") from error
        return answer

    return get
