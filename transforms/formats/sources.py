"""Where the value of a model's input comes from: a path into the record, words that change the value, or a list of these.

``$.price|number``, ``$.discount|default(0)``, ``[$.a,$.b|number,$.c]``. The words:

| word | makes of the value |
|---|---|
| ``number`` | of text such as ``"3.50"`` the number, of true and false 1 and 0 |
| ``default(JSON)`` | of an absent or null value this one; ``default(null)`` leaves an optional input out |
| ``base64`` | of base64 text the bytes: also URL-safe, without padding, or a ``data:`` URL |
| ``time`` | of an ISO time the seconds since 1970, in UTC unless it has a zone |
| ``lookup(FILE)`` | the value of this key in a file with a JSON object |
| ``lower`` | of text the same in lower case |
| ``json`` | of JSON text what it says; a path may follow: ``$.body|json|$.amount`` |

Nothing is changed without a word. A null stays null, which no input takes, unless a default follows.
"""

from __future__ import annotations

import abc
import binascii
import dataclasses
import datetime
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from transforms.formats.casting import FieldMismatch
from transforms.formats.codecs import JsonError, parse_json
from transforms.formats.field_paths import HOW, FieldPath, NotFoundError, PathError
from transforms.json_kinds import json_kind
from transforms.text_files import NotTextError, read_text

MOST_LOOKUP_BYTES = 16_000_000
"""The largest file of ``lookup``, which becomes part of the job."""

_WORD = re.compile(r"([a-z0-9_]+)(?:\((.*)\))?", re.DOTALL)
_NUMBER = re.compile(r"\s*[+-]?(\d+)?(\.\d*)?([eE][+-]?\d{1,3})?\s*")
_OPEN, _CLOSE = "([{", ")]}"

MOST_LABEL = 60
"""Most characters of a list of columns in a message; a longer one is named by its first column and their number."""


class FieldSource(abc.ABC):
    """The source of one input.

    Attributes:
        text: As it is parsed again, with the content of files in it.
        shown: As it was written, without the content of files.
    """

    text: str
    shown: str

    @property
    def label(self) -> str:
        """How messages and tables name it."""
        return self.shown

    @property
    def null_is_absent(self) -> bool:
        """Whether it ends with ``default(null)``: to an input that may be left out, null is then the same as nothing."""
        return False

    @abc.abstractmethod
    def find(self, document: Any) -> Any:
        """Returns the value in ``document``.

        Raises:
            NotFoundError: The document has none.
            FieldMismatch: A word can't be applied to the value.
        """


@dataclasses.dataclass(frozen=True)
class Columns(FieldSource):
    """Several sources, whose values make one list."""

    text: str
    shown: str
    sources: tuple[FieldSource, ...]

    @property
    def label(self) -> str:
        """As ``FieldSource.label``."""
        if len(self.shown) <= MOST_LABEL:
            return self.shown
        return f"[{self.sources[0].shown},… {len(self.sources)} columns]"

    def find(self, document: Any) -> list[Any]:
        """As ``FieldSource.find``; the error names the column."""
        found = []
        for source in self.sources:
            try:
                found.append(source.find(document))
            except FieldMismatch as error:
                raise FieldMismatch(f"{source.shown}: {error}") from None
        return found


@dataclasses.dataclass(frozen=True)
class _Absent:
    """What stands for a value that is not there.

    Attributes:
        why: For the message.
    """

    why: str


@dataclasses.dataclass(frozen=True)
class Changed(FieldSource):
    """A path and the words behind it."""

    text: str
    shown: str
    path: FieldPath
    words: tuple[Callable[[Any], Any], ...]

    @property
    def null_is_absent(self) -> bool:
        """As ``FieldSource.null_is_absent``."""
        return bool(self.words) and self.words[-1] == _Default(None)

    def find(self, document: Any) -> Any:
        """As ``FieldSource.find``."""
        try:
            value = self.path.find(document)
        except NotFoundError as error:
            value = _Absent(str(error))
        for word in self.words:
            value = word(value)
        if isinstance(value, _Absent):
            raise NotFoundError(value.why)
        return value


def field(name: str) -> FieldSource:
    """Returns the field of a name at the top of a record, whatever characters it has."""
    return Changed(f"$.{name}", f"$.{name}", FieldPath(f"$.{name}", (name,)), ())


def parse_source(text: str) -> FieldSource:
    """Reads a source. Files that it names are read, too.

    Raises:
        PathError: It can't be read; the message says where.
    """
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        parts = [parse_source(part) for part in split_outside(text[1:-1], ",")]
        whole, shown = (",".join(those) for those in zip(*((part.text, part.shown) for part in parts), strict=True))
        return Columns(f"[{whole}]", f"[{shown}]", tuple(parts))
    first, *rest = (part.strip() for part in split_outside(text, "|"))
    path = FieldPath.parse(first)
    if not rest:
        return Changed(text, text, path, ())
    words, texts = zip(*(_word(part, text) for part in rest), strict=True)
    written = [f"lookup({word.name})" if isinstance(word, _Lookup) else part for word, part in zip(words, rest, strict=True)]
    return Changed("|".join((first, *texts)), "|".join((first, *written)), path, words)


def parse_features(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Reads the values of ``--features``: ``INPUT=SOURCE,…``, or sources alone for a model of one input.

    Returns:
        Input names and sources, as ``parse_source`` reads them again. The name is empty for a model of one input.

    Raises:
        PathError: They can't be read, or an input is given twice; with every mistake found.
    """
    found: dict[str, str] = {}
    alone: list[str] = []
    problems: list[str] = []
    for text in texts:
        try:
            pieces = split_outside(text, ",")
        except PathError as error:
            problems += error.args
            continue
        for piece in pieces:
            try:
                _add(piece, found, alone)
            except PathError as error:
                problems += error.args
    if problems:
        raise PathError(*problems)
    if alone and found:
        raise PathError(f"{alone[0]}: give NAME=PATH, as for {next(iter(found))}; for several columns [{alone[0]},…]")
    if alone:
        return (("", alone[0] if len(alone) == 1 else f"[{','.join(alone)}]"),)
    return tuple(found.items())


def _add(piece: str, found: dict[str, str], alone: list[str]) -> None:
    """Adds one source to those with the name of an input, or to those without."""
    name, *source = split_outside(piece, "=", 1)
    if source and name.strip():
        if name.strip() in found:
            raise PathError(f"{name.strip()}: is given twice")
        found[name.strip()] = parse_source(source[0]).text
    elif piece.strip().startswith(("$", "[")):
        alone.append(parse_source(piece).text)
    else:
        raise PathError(f"{piece or 'empty'}: give NAME=PATH; {HOW}")


def split_outside(text: str, separator: str, most: int = -1) -> list[str]:
    """Splits at a character that is neither in quotes nor in brackets.

    Raises:
        PathError: A bracket or a quote is not closed.
    """
    parts: list[str] = []
    start, depth, quote = 0, 0, ""
    position = 0
    while position < len(text):
        character = text[position]
        if quote:
            position += character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _OPEN:
            depth += 1
        elif character in _CLOSE:
            depth -= 1
        elif character == separator and not depth and len(parts) != most:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    if depth or quote:
        raise PathError(f"{text}: a {'quote' if quote else 'bracket'} is not closed; {HOW}")
    return [*parts, text[start:]]


def _word(part: str, whole: str) -> tuple[Callable[[Any], Any], str]:
    """Returns what a word does, and its text with the content of its file."""
    if part.startswith("$"):
        return _Into(FieldPath.parse(part)), part
    match = _WORD.fullmatch(part)
    name, argument = (match[1], match[2]) if match else (part, None)
    if name in _PLAIN and argument is None:
        return _Each(name), part
    if name == "default" and argument:
        try:
            return _Default(json.loads(argument)), part
        except ValueError:
            raise PathError(f'{whole}: default({argument}): give JSON, such as default(0) or default("none")') from None
    if name == "lookup" and argument:
        found = _lookup(argument, whole)
        return found, f"lookup({found.name}={json.dumps(dict(found.values), ensure_ascii=False, separators=(',', ':'))})"
    raise PathError(f"{whole}: {part}: no such word; use {', '.join(_PLAIN)}, default(JSON) or lookup(FILE)")


def _lookup(argument: str, whole: str) -> _Lookup:
    name, inline, content = argument.partition("={")
    try:
        text = "{" + content if inline else read_text(name)
        if len(text) > MOST_LOOKUP_BYTES:
            raise PathError(f"{whole}: {name}: is larger than {MOST_LOOKUP_BYTES:,} bytes")
        values = json.loads(text)
    except OSError as error:
        raise PathError(f"{whole}: {name}: can't be read: {error.strerror}") from error
    except PathError:
        raise
    except NotTextError as error:
        raise PathError(f"{whole}: {name}: {error}") from error
    except ValueError as error:
        raise PathError(f"{whole}: {name}: is no JSON: {error}") from error
    if type(values) is not dict:
        raise PathError(f'{whole}: {name}: give a JSON object, such as {{"DE": 1, "FR": 2}}')
    return _Lookup(name, tuple(values.items()))


@dataclasses.dataclass(frozen=True)
class _Into:
    path: FieldPath

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, _Absent):
            return value
        try:
            return self.path.find(value)
        except NotFoundError as error:
            return _Absent(str(error))


@dataclasses.dataclass(frozen=True)
class _Default:
    value: Any

    def __call__(self, value: Any) -> Any:
        return self.value if value is None or isinstance(value, _Absent) else value


@dataclasses.dataclass(frozen=True)
class _Lookup:
    name: str
    values: tuple[tuple[str, Any], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_found", dict(self.values))

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, _Absent):
            return value
        key = value if type(value) is str else json.dumps(value) if type(value) in (int, bool) else None
        if key is None:
            raise FieldMismatch(f"lookup({self.name}): expected a string or an integer, came {json_kind(value)}")
        found: dict[str, Any] = self.__dict__["_found"]
        return found.get(
            key, _Absent(f"lookup({self.name}): the value is not among its {len(found)} keys; add it, or |default()")
        )


@dataclasses.dataclass(frozen=True)
class _Each:
    """A word without an argument."""

    name: str

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, _Absent):
            return value
        return _PLAIN[self.name](value)


def _number(value: Any) -> Any:
    if type(value) is bool:
        return int(value)
    if type(value) in (int, float):
        return value
    match = _NUMBER.fullmatch(value) if type(value) is str else None
    if match is None or not any(map(str.isdecimal, value)) or not (match[1] or len(match[2] or "") > 1):
        raise FieldMismatch(f'number: {json_kind(value)} is no number such as "3.5"')
    return int(value) if match[2] is None and match[3] is None and len(value) < 4000 else float(value)


def _base64(value: Any) -> bytes:
    if type(value) is not str:
        raise FieldMismatch(f"base64: expected text, came {json_kind(value)}")
    head, comma, data = value.partition(",")
    text = data if comma and head.startswith("data:") and head.endswith(";base64") else value
    plain = "".join(text.split()).translate(_URL_SAFE).rstrip("=")
    try:
        return binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except ValueError:
        raise FieldMismatch("base64: the text is no base64") from None


_URL_SAFE = str.maketrans("-_", "+/")


def _time(value: Any) -> float:
    if type(value) is not str:
        raise FieldMismatch(f"time: expected ISO text such as 2026-01-31T12:00:00Z, came {json_kind(value)}")
    try:
        moment = datetime.datetime.fromisoformat(value.strip())
    except ValueError:
        raise FieldMismatch("time: the text is no ISO time such as 2026-01-31T12:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _lower(value: Any) -> str:
    if type(value) is not str:
        raise FieldMismatch(f"lower: expected text, came {json_kind(value)}")
    return value.lower()


def _json(value: Any) -> Any:
    if type(value) not in (str, bytes):
        raise FieldMismatch(f"json: expected JSON text, came {json_kind(value)}")
    try:
        return parse_json(value if type(value) is bytes else value.encode())
    except (JsonError, UnicodeEncodeError):
        raise FieldMismatch("json: the text is no JSON") from None


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "base64": _base64,
    "time": _time,
    "lower": _lower,
    "json": _json,
}
