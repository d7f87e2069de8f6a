"""Texts of users and of servers: URIs, paths, headers, waits."""

from __future__ import annotations

import numpy as np

from tests.fuzz.oracle import allowed, must
from tests.fuzz.source import Source
from transforms.answer_body import AnswerBody
from transforms.clients import check_uri
from transforms.clients.registry import schemes
from transforms.clients.wire.grpc import retry_after_s
from transforms.clients.wire.status_codes import clean, from_grpc_code, from_http_status
from transforms.errors import ConfigError, MalformedAnswerError, ModelError
from transforms.formats.field_paths import FieldPath, NotFoundError, PathError, parse_named_paths
from transforms.printable import printable
from transforms.request_headers import check_headers
from transforms.retry import read_retry_after

_PIECES = (
    *(
        "localhost",
        "[::1]",
        ":8500",
        ":99999",
        ":0",
        "/m",
        "/v1/models/",
        "@1",
        "@" + "9" * 5000,
        "@label",
        "?signature=x",
        "?version=",
        "&",
        "=",
        "#",
    ),
    *(
        "user:secret@",
        "//",
        "..",
        "%2F",
        "%",
        "\0",
        "\n",
        "²",
        "projects",
        "europe-west4",
        "/a b",
        "é",
        "[",
        "]",
        "?",
        ":",
        "\ud800",
    ),
)
_STEPS = ("$", ".a", "[0]", "['", "']", '["', '"]', "\\", ",", "=", "x", "[", "]", " ", "[9999999999]", "é", "")
_WAITS = (
    "1",
    "-1",
    "9" * 400,
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 01 Jan 0000 00:00:00 +9999",
    "1e5",
    "\x01",
    "٣",
    "Wed,",
)


def model_uri(data: bytes) -> None:
    """``--model``: a URI of any protocol."""
    source = Source(data)
    uri = source.pick((*schemes(), "x", "")) + source.pick(("://", ":", ""))
    uri += "".join([source.pick(_PIECES) for _ in range(source.below(8))]) + source.take(8).decode("utf-8", "replace")
    with allowed(ConfigError):
        check_uri(uri)


def feature_paths(data: bytes) -> None:
    """``--features`` and ``--pass_through``, and the paths in documents."""
    source = Source(data)
    text = "".join([source.pick(_STEPS) for _ in range(source.below(16))]) + source.take(8).decode("utf-8", "replace")
    with allowed(PathError):
        found = parse_named_paths([text], bare_names=source.chance(2))
        for _, path in found:
            with allowed(NotFoundError):
                FieldPath.parse(path).find({"a": [{"x": 1}], "x": "y"})


class _RpcError:
    def __init__(self, trailers: tuple[tuple[str, object], ...]):
        self._trailers = trailers

    def trailing_metadata(self) -> tuple[tuple[str, object], ...]:
        return self._trailers


def waits(data: bytes) -> None:
    """Retry-After, gRPC's pushback and RetryInfo: never an exception."""
    source = Source(data)
    text = source.pick(_WAITS) if source.chance(2) else source.take(40).decode("utf-8", "replace")
    asked = [read_retry_after(text, 0.0)]
    trailers = (("grpc-retry-pushback-ms", text),) if source.chance(2) else (("grpc-status-details-bin", source.rest()),)
    asked.append(retry_after_s(_RpcError(trailers)))
    must(not any(wait is not None and (wait < 0 or np.isnan(wait)) for wait in asked), "a wait below 0")


def error_texts(data: bytes) -> None:
    """Error texts of servers: one printable line of bounded length."""
    source = Source(data)
    code, status = source.pick(("UNKNOWN", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "x")), 400 + source.below(200)
    text = source.pick(("", "batch size must be <= ", "larger than max (", "value: '")) + source.rest().decode(
        "utf-8", "replace"
    )
    for error in (from_grpc_code("m", code, text), from_http_status("m", status, text)):
        must(isinstance(error, ModelError), "is no ModelError")
        must(str(error).isprintable(), "has control characters")
        must(len(str(error)) < 1000, "is not bounded")
    must(clean(text).isprintable(), "has control characters")
    must(printable(text).isprintable() or "\n" in printable(text), "has control characters")


def bodies_and_headers(data: bytes) -> None:
    """Compressed bodies, and headers of requests."""
    source = Source(data)
    encoding = source.pick(("gzip", "deflate", "identity", "br", "\xff" * 40))
    with allowed(MalformedAnswerError):
        body = AnswerBody("m", 1000, encoding, inflates=source.chance(2))
        for _ in range(source.below(4)):
            body.add(source.take(64))
        must(len(body.whole()) <= 1000, "is larger than the limit")
    with allowed(ConfigError):
        check_headers(((source.text(), source.take(16).decode("utf-8", "replace")),))
