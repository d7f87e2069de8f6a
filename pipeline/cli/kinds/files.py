"""Kinds whose text is a path of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.cli.kinds.base import One
from transforms.clients.declared import parse_signature
from transforms.clients.json_bodies.template import Template
from transforms.errors import ConfigError
from transforms.text_files import NotTextError, read_text
from transforms.types import Signature

FILE = "FILE"

Reader = tuple[Callable[[str], object], type[Exception]]
"""What reads the text of a file, and what it raises of one with a mistake."""


def file() -> One[str]:
    """A file that is there; the value is its path."""
    return One(check=_existing, metavar=FILE)


def output_file() -> One[Path]:
    """A file to write; its folder is there."""

    def check(name: str, value: str) -> Path:
        path = Path(value)
        if not path.parent.is_dir():
            raise ConfigError([f"--{name}={value}: the folder {path.parent} does not exist; make it first"])
        if path.is_dir():
            raise ConfigError([f"--{name}={value}: is a folder; give a file"])
        return path

    return One(check=check, metavar=FILE)


def new_file() -> One[Path]:
    """A file to write that is not there yet; its folder is."""

    def check(name: str, value: str) -> Path:
        path = output_file().check(name, value)
        if path.exists():
            raise ConfigError([f"--{name}={value}: is there already; remove it, or give another name"])
        return path

    return One(check=check, metavar=FILE)


def labels_file() -> One[tuple[str, ...]]:
    """A file of class names; the value is the names."""

    def check(name: str, value: str) -> tuple[str, ...]:
        from transforms.encode.labels import parse_labels

        return tuple(parse_labels(value))  # its mistakes name the flag

    return One(check=check, metavar=FILE, content=True)


def avro_schema_file() -> One[str]:
    """A file with an Avro schema; the value is the schema's JSON text."""

    def reader() -> Reader:
        from transforms.formats.avro_schema import SchemaError, parse_avro_schema

        return parse_avro_schema, SchemaError

    return _text_for(reader)


def signature_file() -> One[Signature]:
    """A file with a model's signature; the value is the signature."""

    def check(name: str, value: str) -> Signature:
        try:
            return parse_signature(_text(name, value))
        except ValueError as error:
            raise ConfigError([f"--{name}={value}: {error}"]) from error

    return One(check=check, metavar=FILE, content=True)


def request_file() -> One[str]:
    """A file with the template of a request; the value is its text."""
    return _text_for(lambda: (Template, ValueError))


def prompt_file() -> One[str]:
    """A file with a template of prompts; the value is its text."""

    def reader() -> Reader:
        from transforms.formats.prompt import Prompt, PromptError

        return Prompt, PromptError

    return _text_for(reader)


def answer_schema_file() -> One[str]:
    """A file with a JSON Schema of answers; the value is its text."""

    def reader() -> Reader:
        from transforms.formats.answer_schema import AnswerSchema, AnswerSchemaError

        return AnswerSchema, AnswerSchemaError

    return _text_for(reader)


def text_file() -> One[str]:
    """A file of text that is not blank; the value is its text, without blanks around it."""

    def check(name: str, value: str) -> str:
        text = _text(name, value).strip()
        if not text:
            raise ConfigError([f"--{name}={value}: is empty; write the text into it, or leave the flag out"])
        return text

    return One(check=check, metavar=FILE, content=True)


def _text_for(reader: Callable[[], Reader]) -> One[str]:
    """A file whose value is its text, once it was read without a mistake.

    Args:
        reader: Imports what reads the text: only for a flag that is given, because of the packages behind it.
    """

    def check(name: str, value: str) -> str:
        read, mistake = reader()
        text = _text(name, value)
        try:
            read(text)
        except mistake as error:
            raise ConfigError([f"--{name}={value}: {error}"]) from error
        return text

    return One(check=check, metavar=FILE, content=True)


def _text(name: str, value: str) -> str:
    try:
        return read_text(_existing(name, value))
    except NotTextError as error:
        raise ConfigError([f"--{name}={value}: {error}"]) from error
    except OSError as error:
        raise ConfigError([f"--{name}={value}: can't be read: {error.strerror}"]) from error


def _existing(name: str, value: str) -> str:
    if not Path(value).is_file():
        raise ConfigError([f"--{name}={value}: no such file"])
    return value
