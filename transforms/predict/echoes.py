"""``hide_echo``: leaves out a server's error text that repeats content of records.

Some servers echo the request in their error texts: as JSON, as Python's ``repr``, as a protobuf message's text, base64, or
the value that they could not take. Such a text has the rows of a whole batch, and would reach logs, the status line and the
dead letters of other records. What a server may say of its own, such as shapes and limits, is no content.

A text repeats content if it has one of

* a text of a record as a word (from ``_WORD`` characters on) or in quotes, or a longer piece of it, escaped, base64 or hex;
* a number of a record with ``_DIGITS`` digits, or three numbers in a row as they stand in the request;
* a field's name and after it the value, such as ``"age": 42``.

This is for servers that are careless. One that wants to can write what it knows of records in any other form.
"""

from __future__ import annotations

import base64
import codecs
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transforms.errors import ModelError

LEFT_OUT = "(the server's text repeats content of records, and is left out)"

_WORD = 4
_DIGITS, _WHOLE_DIGITS = 3, 5  # of numbers with a fraction; of whole numbers, which may be a limit or a size
_BLOCK = 12
_MOST_LEAVES = 100_000
_MOST_BYTES = 1 << 16  # of one value: error texts are short, and repeat a beginning

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w)")
_IN_QUOTES = re.compile(r"\"((?:[^\"\\]|\\.){1,200})\"|'((?:[^'\\]|\\.){1,200})'")
_SEPARATORS = re.compile(r"[\s,;\[\](){}]+")
_FIELD = re.compile(r"[\"']([^\"'\\]{1,100})[\"']\s*[:=]\s*[\[({]*[\"']?|(\w{1,100})=[\[({]*[\"']?")
_ENCODED = re.compile(r"[A-Za-z0-9+/]{16,}")


def hide_echo(error: ModelError, requests: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Replaces what the server said in the error's message, if it repeats content of a request; once the message is shown.

    Args:
        error: The error of a request.
        requests: The inputs of the request, and of others that the server may have merged with it.
    """
    if not error.said:
        return
    asked = tuple(requests)  # what is in flight now: later it is something else

    def look() -> None:
        if repeats(error.said, asked):
            error.hide(LEFT_OUT)

    error.before_shown(look)


def repeats(said: str, requests: Iterable[Mapping[str, np.ndarray]]) -> bool:
    """Whether a text repeats content of one of the requests, which are given by their inputs."""
    return any(_of_text(said, content) or _of_numbers(said, content) for content in map(_content, requests))


class _Content(NamedTuple):
    names: set[str]
    texts: set[str]
    pieces: str  # of texts and bytes, without white space
    numbers: list[np.ndarray]  # flat


class _Token(NamedTuple):
    start: int
    end: int
    value: float
    is_long: bool


def _content(inputs: Mapping[str, np.ndarray]) -> _Content:
    names, texts, pieces, numbers = set(inputs), set(), [], []
    for array in inputs.values():
        if array.dtype.kind not in "OSU":
            flat = array.view(array.real.dtype).ravel() if array.dtype.kind == "c" else array.ravel()
            numbers.append(flat)
            pieces.append(flat[:_MOST_BYTES].tobytes()[:_MOST_BYTES].decode("latin-1"))  # as protobuf prints a tensor
            continue
        loose: list[float] = []
        for leaf in itertools.islice(_leaves(array.ravel().tolist(), names), _MOST_LEAVES):
            if isinstance(leaf, bytes | str):
                text = _text(leaf[:_MOST_BYTES])
                texts.add(text)
                pieces.append(text)
            else:
                loose.append(float(leaf))
        numbers.append(np.array(loose, np.float64))
    return _Content(names, texts - {""}, _squeezed("\0".join(pieces)), numbers)


def _leaves(values: Sequence[Any], names: set[str]) -> Iterator[Any]:
    """The texts and numbers inside JSON values; collects the names of fields."""
    stack = [iter(values)]
    while stack:
        for value in stack[-1]:
            if isinstance(value, dict):
                names.update(map(str, itertools.islice(value, _MOST_LEAVES)))
                stack.append(iter(value.values()))
            elif isinstance(value, list | tuple):
                stack.append(iter(value))
            elif isinstance(value, bytes | str) or (isinstance(value, int | float) and abs(value) < 1e308):
                yield value
                continue
            else:
                continue
            break
        else:
            stack.pop()


def _text(value: bytes | str) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _squeezed(text: str) -> str:
    """The text without white space. Of kilobytes of content, at each error: a regular expression takes ten times as long."""
    return "".join(text.split())


# ---------------------------------------------------------------------- texts


def _of_text(said: str, content: _Content) -> bool:
    if any((found[1] or found[2]) in content.texts for found in _IN_QUOTES.finditer(said)):
        return True
    if any(len(text) >= _WORD and _has_word(said, text) for text in content.texts):
        return True
    if any(_has_piece(form, content.pieces) for form in {said, *_unescaped(said)}):
        return True
    return any(_has_decoded(found[0], content.pieces) for found in _ENCODED.finditer(said))


def _has_word(said: str, text: str) -> bool:
    at = said.find(text)
    while at >= 0:
        end = at + len(text)
        if not (said[at - 1 : at].isalnum() or said[end : end + 1].isalnum()):
            return True
        at = said.find(text, at + 1)
    return False


def _has_piece(said: str, pieces: str) -> bool:
    """Whether a block of the text stands in the content; so every piece of two blocks is found, wherever it begins."""
    squeezed = _squeezed(said)
    blocks = (squeezed[at : at + _BLOCK] for at in range(0, len(squeezed) - _BLOCK + 1, _BLOCK))
    return any(len(set(block)) > 2 and block in pieces for block in blocks)  # "------------" is no content


def _unescaped(said: str) -> tuple[str, str]:
    """The text that escapes stand for: of a string, and of the UTF-8 bytes of one."""
    text = codecs.decode(said.encode("latin-1", "ignore"), "unicode_escape", "ignore")
    return text, text.encode("latin-1", "ignore").decode("utf-8", "ignore")


def _has_decoded(run: str, pieces: str) -> bool:
    forms = [base64.b64decode(run[: len(run) // 4 * 4])]
    if re.fullmatch(r"[0-9a-fA-F]+", run):
        forms.append(bytes.fromhex(run[: len(run) // 2 * 2]))
    return any(
        len(squeezed := _squeezed(_text(form[: 2 * _BLOCK]))[:_BLOCK]) >= _BLOCK - 2 and squeezed in pieces for form in forms
    )


# ---------------------------------------------------------------------- numbers


def _of_numbers(said: str, content: _Content) -> bool:
    tokens = [_token(found) for found in _NUMBER.finditer(said)]
    if any(token.is_long and _holds(content, [token]) for token in tokens):
        return True
    runs = zip(tokens, tokens[1:], tokens[2:], strict=False)
    if any(_in_a_row(said, run) and _holds(content, run) for run in runs):
        return True
    for field in _FIELD.finditer(said):
        if (field[1] or field[2]) not in content.names:
            continue
        rest = said[field.end() :]
        if any(rest.startswith(text) for text in content.texts):
            return True
        if (found := _NUMBER.match(rest)) and _holds(content, [_token(found)]):
            return True
    return False


def _token(found: re.Match[str]) -> _Token:
    mantissa = re.split("[eE]", found[0])[0]
    digits = len(re.sub(r"\D", "", mantissa).strip("0" if "." in mantissa else "").lstrip("0"))
    least = _DIGITS if "." in mantissa else _WHOLE_DIGITS
    return _Token(found.start(), found.end(), float(found[0]), digits >= least)


def _in_a_row(said: str, run: Sequence[_Token]) -> bool:
    return all(_SEPARATORS.fullmatch(said, a.end, b.start) for a, b in itertools.pairwise(run))


def _holds(content: _Content, run: Sequence[_Token]) -> bool:
    """Whether an input has these numbers one after the other."""
    for numbers in content.numbers:
        starts = max(0, len(numbers) - len(run) + 1)
        hits = np.ones(starts, bool)
        with np.errstate(all="ignore"):
            for at, token in enumerate(run):
                wanted = np.float64(token.value).astype(numbers.dtype)  # what was printed of it has lost nothing
                same = numbers[at : at + starts] == wanted
                hits &= same if numbers.dtype.kind == "f" else same & (wanted == token.value)
        if hits.any():
            return True
    return False
