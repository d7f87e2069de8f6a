"""Kinds about the model and its records: the model's URI, headers, paths into records, the schema registry."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterator, Sequence

from pipeline.cli.kinds.base import Many, Named, One, Pairs
from pipeline.cli.names import EMBEDDED
from transforms.clients import check_uri
from transforms.clients.json_bodies.answers import parse_response
from transforms.clients.registry import uri_pattern
from transforms.errors import ConfigError
from transforms.formats.field_paths import PathError, parse_named_paths
from transforms.formats.options import Paths
from transforms.formats.output_fields import Field, parse_types
from transforms.formats.sources import parse_features
from transforms.hosts import is_authority
from transforms.printable import one_line
from transforms.request_headers import check_headers


class _ModelUri(One[str]):
    def regex(self) -> str:
        """As ``Kind.regex``: looked up when it is asked for, as reading all packages' metadata takes time."""
        return uri_pattern()


def model_uri() -> One[str]:
    """A model's URI, or ``embedded``."""

    def check(_: str, value: str) -> str:
        if value != EMBEDDED:
            check_uri(value)
        return value

    return _ModelUri(check=check, metavar="URI")


def headers() -> Named[Pairs]:
    """Headers of a request; a name may stand several times."""

    def check(_: str, pairs: Pairs) -> Pairs:
        check_headers(pairs)
        return pairs

    return Named(check=check)


def paths() -> Many[Paths]:
    """``NAME[=PATH],…``: names with paths into a record. A name alone stands for the field of that name."""
    return _many_paths("NAME[=PATH],…", lambda values: parse_named_paths(values, bare_names=True), "[^|]+")


def sources() -> Many[Paths]:
    """``INPUT=PATH|word,…``: inputs of the model with the sources of their values (``transforms/formats/sources.py``)."""
    return _many_paths("[INPUT=]PATH[|WORD],…", parse_features, ".+")


def answer_paths() -> Many[Paths]:
    """``PATH`` or ``NAME=PATH,…`` into an answer (``transforms/clients/json_bodies/answers.py``)."""
    return _many_paths("[NAME=]PATH,…", parse_response, ".+")


def output_types() -> Many[tuple[Field, ...]]:
    """``NAME=TYPE,…``: fields of predictions with their types in a schema."""

    def check(name: str, values: Sequence[str]) -> tuple[Field, ...]:
        try:
            return parse_types(values)
        except ValueError as error:
            raise ConfigError([f"--{name}={error}"]) from error

    return Many(check=check, metavar="NAME=TYPE,…", pattern=r"[^=]+=\w+(\[\])*(,[^=]+=\w+(\[\])*)*")


_RECORD_NAME = r"([A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*"


def record_name() -> One[str]:
    """The name of a record of Avro, or of a message of Protobuf: no other is one in both, and subjects are made of it."""

    def check(name: str, value: str) -> str:
        if re.fullmatch(_RECORD_NAME, value, re.ASCII) is None:
            raise ConfigError(
                [
                    f"--{name}={one_line(value)}: is no name of a record: give words of a-z, A-Z, 0-9 and _, none of which "
                    "begins with a digit, with dots between them, such as com.example.FraudScore"
                ]
            )
        return value

    return One(check=check, metavar="NAMESPACE.NAME", pattern=_RECORD_NAME)


def _many_paths(
    metavar: str, parse: Callable[[Sequence[str]], Paths], pattern: str, *, content: bool = False
) -> Many[Paths]:
    def check(name: str, values: Sequence[str]) -> Paths:
        try:
            return parse(values)
        except PathError as error:
            raise ConfigError([f"--{name}={problem}" for problem in error.args]) from error

    return Many(check=check, metavar=metavar, pattern=pattern)


def registry_urls() -> One[str]:
    """A schema registry's URL, several with commas between them; one with a password in it is not shown."""

    def check(name: str, value: str) -> str:
        if mistakes := [f"--{name}: {problem}" for url in value.split(",") for problem in _url_problems(url.strip())]:
            raise ConfigError(mistakes)
        return value

    return One(check=check, metavar="URL", pattern="https?://.+")


def _url_problems(url: str) -> Iterator[str]:
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        yield "give http://HOST:PORT or https://HOST:PORT"  # it may hold a password: it is not shown
        return
    if parts.username is not None or parts.password is not None:
        yield "credentials do not belong into the URL; give --schema_registry_config 'basic.auth.user.info=${ENV}'"
    elif parts.scheme not in ("http", "https") or not host or not (url.isprintable() and is_authority(parts.netloc)):
        yield f"{one_line(url)}: give http://HOST:PORT or https://HOST:PORT"
