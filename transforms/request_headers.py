"""Which headers may go with every request: the rules of HTTP (RFC 9110, 5.1 and 5.5) and of gRPC's metadata.

Headers come from users, and their values from environment variables, files and secrets, which like to end with a line break.
What is not allowed would be a traceback of the HTTP or gRPC library in the middle of the job, or a second header. No message
holds a value, nor a name that is none: it may be a value that was put in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from transforms.errors import ConfigError

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A name of a header, or of a property."""

_OF_THE_CONNECTION = frozenset(
    ("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
_GRPC_NAME = re.compile(r"[0-9a-z_.-]+")
_GRPC_VALUE = re.compile(r"[ -~]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

Headers = tuple[tuple[str, str], ...]


def header_mistakes(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yields what is wrong with headers, over any protocol; each names the flag and says what to do."""
    for name, value in headers:
        if not TOKEN.fullmatch(name):
            yield "--model_header: a name has a character that no header's name may have; give NAME=VALUE"
        elif name.lower() in _OF_THE_CONNECTION:
            yield f"--model_header {name}: the connection sets it by itself; leave it out"
        elif problem := value_problem(value):
            yield f"--model_header {name}: {problem}"


def value_problem(value: str) -> str | None:
    """Returns why a value can't be that of a header, or ``None``."""
    if found := _CONTROL.search(value):
        end = (
            " at its end; does the variable, file or secret that it is from end with one?"
            if found.end() == len(value)
            else ""
        )
        return f"the value has a line break or another control character{end}"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "the value is not UTF-8"
    return None


def check_headers(headers: Headers) -> None:
    """Checks headers, with all secrets resolved.

    Raises:
        ConfigError: Some can't be sent.
    """
    if mistakes := list(header_mistakes(headers)):
        raise ConfigError(mistakes)


def grpc_metadata(headers: Headers) -> Headers:
    """Returns headers as gRPC's metadata: names in lower case.

    Raises:
        ConfigError: Some can't be sent over gRPC, which allows less than HTTP.
    """
    found, mistakes = tuple((name.lower(), value) for name, value in headers), []
    for name, value in found:
        if not _GRPC_NAME.fullmatch(name):
            mistakes.append("--model_header: over gRPC a name has only the characters a-z, 0-9, '_', '-' and '.'")
        elif name.endswith("-bin"):
            mistakes.append(f"--model_header {name}: over gRPC a name that ends with -bin is for binary values; use another")
        elif not _GRPC_VALUE.fullmatch(value):
            mistakes.append(f"--model_header {name}: over gRPC a value has only printable ASCII characters")
    if mistakes:
        raise ConfigError(mistakes)
    return found
