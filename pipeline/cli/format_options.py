"""The flags of the formats, checked together, and the schema registry, asked once before anything is consumed."""

from __future__ import annotations

import contextlib
import dataclasses
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.cli.config import Config
from transforms.decode.field_paths import PathError, parse_named_paths
from transforms.errors import ConfigError, ContractError, NotServedError, SecretError, TransientError
from transforms.formats.codecs import AVRO, DOCUMENTS, PROTOBUF
from transforms.formats.options import FormatOptions, Paths, RegistryConfig
from transforms.formats.readers import FRAMED


@dataclasses.dataclass(frozen=True, slots=True)
class GivenFormats:
    """What the flags say, unchecked.

    Attributes:
        input_format: ``--input_format``.
        avro_schema: ``--avro_schema``: a file.
        registry: ``--schema_registry``.
        properties: ``--schema_registry_config`` and its file.
        features: ``--features``.
        pass_through: ``--pass_through``.
        output_mode: ``--output_mode``.
    """

    input_format: str
    avro_schema: str | None
    registry: str | None
    properties: Mapping[str, str] = dataclasses.field(repr=False)
    features: Sequence[str]
    pass_through: Sequence[str]
    output_mode: str


def format_options(given: GivenFormats, mistakes: list[str]) -> FormatOptions:
    """Checks what was given; adds to ``mistakes``, each with its cure."""
    asked = given.input_format
    features = _paths("features", given.features, mistakes)
    pass_through = _paths("pass_through", given.pass_through, mistakes)
    if asked not in (*DOCUMENTS, "auto"):
        for name, paths in (("features", features), ("pass_through", pass_through)):
            if paths:
                mistakes.append(f"--{name}: records of --input_format={asked} have no fields; use json, avro or protobuf")
    if pass_through and given.output_mode == "merge":
        mistakes.append("--pass_through: --output_mode=merge writes the whole record already; leave one of them out")
    if given.avro_schema is not None and asked != AVRO:
        mistakes.append(f"--avro_schema: is for --input_format=avro, not {asked}")
    return FormatOptions(_avro_schema(given.avro_schema, mistakes), _registry(given, mistakes), features, pass_through)


def _paths(name: str, texts: Sequence[str], mistakes: list[str]) -> Paths:
    try:
        return parse_named_paths(texts, bare_names=name == "pass_through")
    except PathError as error:
        mistakes.append(f"--{name}={error}")
        return ()


def _avro_schema(path: str | None, mistakes: list[str]) -> str | None:
    if path is None or not Path(path).is_file():
        return None  # that there is no such file is told by who looked for it
    from transforms.formats.avro_schema import SchemaError, parse_avro_schema

    try:
        text = Path(path).read_text(encoding="utf-8")
        parse_avro_schema(text)
    except (OSError, UnicodeDecodeError) as error:
        mistakes.append(f"--avro_schema={path}: can't be read as UTF-8 text: {type(error).__name__}")
        return None
    except SchemaError as error:
        mistakes.append(f"--avro_schema={path}: {error}")
        return None
    return text


def _registry(given: GivenFormats, mistakes: list[str]) -> RegistryConfig | None:
    if given.registry is None:
        if given.input_format == PROTOBUF:
            mistakes.append("--input_format=protobuf: needs --schema_registry, by whose schemas the records are read")
        if given.properties:
            mistakes.append("--schema_registry_config: needs --schema_registry")
        return None
    before = len(mistakes)
    if given.input_format not in DOCUMENTS:
        mistakes.append(
            f"--schema_registry: say by --input_format=avro, protobuf or json what is framed; it is {given.input_format} now"
        )
    for url in given.registry.split(","):
        mistakes += [f"--schema_registry: {problem}" for problem in _url_problems(url.strip())]
    if len(mistakes) > before:
        return None
    config = RegistryConfig(given.registry, tuple(sorted(given.properties.items())))
    if given.input_format not in FRAMED:
        return config  # nobody will be asked: of JSON the frame is taken off, and that is all
    from transforms.formats.registry import Registry

    try:
        Registry(config).close()
    except ConfigError as error:
        mistakes += error.mistakes
        return None
    except SecretError as error:
        mistakes.append(f"--schema_registry_config: {error}")
        return None
    return config


def _url_problems(url: str) -> list[str]:
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ["give http://HOST:PORT or https://HOST:PORT"]  # it may hold a password: it is not shown
    if parts.username is not None or parts.password is not None:
        return ["credentials do not belong into the URL; give --schema_registry_config 'basic.auth.user.info=${ENV}'"]
    if parts.scheme not in ("http", "https") or not host:
        return [f"{url}: give http://HOST:PORT or https://HOST:PORT"]
    return []


def check_registry(config: Config) -> None:
    """Asks the schema registry whether it is there, if its schemas will be needed.

    Raises:
        ContractError: It is not, or refuses us.
    """
    registry = config.formats.registry
    if registry is None or config.input_format not in FRAMED:
        return
    from transforms.formats.registry import Registry

    with contextlib.closing(Registry(registry)) as client:
        try:
            client.check()
        except (TransientError, NotServedError) as error:
            raise ContractError(f"--schema_registry: {error}") from error
