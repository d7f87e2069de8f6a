"""What the model URIs of all protocols share: host and port, and errors that name the flag, the cure and the form."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from transforms.errors import ConfigError


def mistake(uri: str, problem: str, form: str) -> ConfigError:
    """Returns the error for a URI that can't be used.

    Args:
        uri: The URI. Do not pass one that holds a secret: the message repeats it.
        problem: What is wrong, and what to do.
        form: The correct form.
    """
    return ConfigError([f"--model={uri}: {problem}; the form is {form}"])


def split(uri: str, form: str) -> tuple[SplitResult, int | None]:
    """Splits a URI.

    Args:
        uri: The URI.
        form: The correct form, for error messages.

    Returns:
        The parts, and the port; ``None`` if the URI names no port.

    Raises:
        ConfigError: It is not a URI, or it has no host, port 0, a user name, a password or a fragment.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise mistake(uri, f"not a URI ({error})", form) from error
    if parts.username is not None or parts.password is not None:
        # The message does not repeat the URI: it holds a secret.
        raise ConfigError(
            [f"--model: a URI must not hold a user name or password; send a header instead; the form is {form}"]
        )
    if not parts.hostname:
        raise mistake(uri, "the host is missing", form)
    if parts.fragment:
        raise mistake(uri, "nothing may follow a #", form)
    if port == 0:
        raise mistake(uri, "port 0 can't be called", form)
    return parts, port
