"""What the model URIs of all protocols share: host and port, and errors that name the flag, the cure and the form."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import SplitResult, parse_qsl, urlsplit

from transforms.errors import ConfigError
from transforms.hosts import is_authority
from transforms.printable import one_line

_LOGIN = re.compile(r"((?:^|//|=)(?:https?://)?)[^/?#&=@\s]*:[^/?#&\s]*@|(//)[^/?#@\s]*@")
_SECRET_PARAMETER = re.compile(
    r"([?&](?!max_(?:completion_)?tokens=)[^=&#]*(?:key|token|secret|passw|pwd|credential|auth)[^=&#]*=)[^&#]*",
    re.IGNORECASE,
)

_HOST = re.compile(r"[A-Za-z0-9._~:%-]+")
"""A name or an address. What else ``urlsplit`` lets pass, no client can call, and some refuse by an error of their own."""

HIDDEN = "…"
"""What stands for a part that may be a secret."""


def shown(uri: str) -> str:
    """Returns a URI as a message may hold it: without a user name, a password, and values of parameters named as secrets.

    Invisible characters are escaped.
    """
    without_login = _LOGIN.sub(rf"\1\2{HIDDEN}@", uri)
    return one_line(_SECRET_PARAMETER.sub(rf"\1{HIDDEN}", without_login))


def has_login(uri: str) -> bool:
    """Whether a user name or a password stands before the host of a URI, or of one of its parameters."""
    return _LOGIN.search(uri) is not None


def login_mistake(form: str) -> ConfigError:
    """Returns the error for a URI with a user name or a password, which it does not repeat."""
    return ConfigError([f"--model: a URI must not hold a user name or password; send a header instead; the form is {form}"])


def mistake(uri: str, problem: str, form: str) -> ConfigError:
    """Returns the error for a URI that can't be used.

    Args:
        uri: The URI; the message repeats it as ``shown`` does.
        problem: What is wrong, and what to do.
        form: The correct form.
    """
    return ConfigError([f"--model={shown(uri)}: {problem}; the form is {form}"])


def parameters_of(query: str, known: Collection[str], mistakes: list[str]) -> dict[str, str]:
    """Returns the parameters of a query, each of which may stand once and has a value.

    Args:
        query: What stands behind the question mark.
        known: The names that there are.
        mistakes: What is wrong is added to it.
    """
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            mistakes.append(f"unknown parameter {name}")
        elif name in given:
            mistakes.append(f"{name} is given twice")
        elif not value:
            mistakes.append(f"{name} has no value")
        else:
            given[name] = value
    return given


def split(uri: str, form: str) -> tuple[SplitResult, int | None]:
    """Splits a URI.

    Args:
        uri: The URI.
        form: The correct form, for error messages.

    Returns:
        The parts, and the port; ``None`` if the URI names no port.

    Raises:
        ConfigError: It is not a URI, or it has no host, one that can't be called, port 0, a user name, a password or a
            fragment.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise mistake(uri, f"not a URI ({error})", form) from error
    if parts.username is not None or parts.password is not None:
        raise login_mistake(form)
    if not parts.hostname:
        raise mistake(uri, "the host is missing", form)
    if not _HOST.fullmatch(parts.hostname):
        raise mistake(uri, "the host has characters that no host has; write one of other letters as xn--…", form)
    if not is_authority(parts.netloc):
        raise mistake(uri, "the host must be a name, or an address, an IPv6 one in [], with :PORT after it", form)
    if parts.fragment:
        raise mistake(uri, "nothing may follow a #", form)
    if port == 0:
        raise mistake(uri, "port 0 can't be called", form)
    return parts, port
