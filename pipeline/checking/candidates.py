"""Finds the record fields that may be a model's input: their names match, and their values fit its dtype and shape."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline.checking.leaves import Leaf, Names
from transforms.formats.casting import LONGEST_TEXT, Caster, FieldMismatch
from transforms.formats.sources import parse_source
from transforms.predict.cures import is_image_text
from transforms.types import TensorSpec

EXACT, SAME, JOINED, WORDS, CLOSE, ONLY = range(6)
"""How a field's name matches an input's, the best first: equal; equal except for case and punctuation; equal with the names
of the enclosing objects; one has all words of the other; similar. ``ONLY``: no match, but no other field fits."""

MAX_COLUMNS = 100
"""The most columns of an input that are looked for among fields."""

AS_READ = "that the fields have in the records"
BY_NUMBER = "of the numbers in the names of the fields"
"""What the columns of an input are in the order of."""

BASE64 = "|base64"
_LEAST_CLOSE = 0.75
_BESIDE = {"before", "schema", "source", "transaction", "meta", "metadata", "headers"}
"""Names of objects that hold metadata instead of data, in envelopes such as Debezium's."""
_ID = re.compile(
    r"(?i:(.*[\W_])?(id|uuid|guid|key|ts|ts_ms|time|timestamp|date|at|offset|partition|version))"
    r"|.*[a-z0-9](Id|ID|Uuid|UUID|Guid|Key|Ts|Time|Timestamp|Date|At|Offset|Partition|Version)"
)
"""Names of fields that are rarely features."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A source that fits an input.

    Attributes:
        source: The source, as ``--features`` takes it.
        path: Where its field is; the first where it is several.
        fits: How many of the values fit.
        rank: How well its name matches the input's, ``EXACT`` to ``ONLY``: lower is better.
        beside: How many of the enclosing objects hold metadata instead of data.
        parent: The object that its field is in.
        depth: How deep that is.
        columns: What several fields are in the order of; empty for one field.
    """

    source: str
    path: str
    fits: int
    rank: int
    beside: int
    parent: tuple[Names, ...]
    depth: int
    columns: str = ""

    @property
    def order(self) -> tuple[int, int, int, int]:
        """The best candidates have the lowest."""
        return self.rank, self.beside, self.depth, -self.fits


def named_candidates(name: str, spec: TensorSpec, leaves: Sequence[Leaf], least: int, single: bool) -> list[Candidate]:
    """Returns the fields that fit an input and have its name, the best first.

    Args:
        name: The input's name.
        spec: Its spec.
        leaves: The records' values.
        least: How many values of a field must fit.
        single: Whether the model has no other input: then also a bare value, and the only field that fits.
    """
    found: list[Candidate] = []
    unnamed: list[Candidate] = []
    for leaf in leaves:
        rank = EXACT if single and not leaf.names else _rank(name, leaf.names)
        if (rank is not None or single) and (best := _best_source(leaf, spec, least)) is not None:
            if rank is not None:
                found.append(_candidate(leaf, *best, rank))
            elif not _ID.fullmatch(leaf.names[-1]):
                unnamed.append(_candidate(leaf, *best, ONLY))
    if not found:
        rest = [one for one in unnamed if not one.beside]
        images = [one for one in rest if one.source.endswith(BASE64)]
        found = next((those for those in (rest, images) if len(those) == 1), [])
    return sorted(found, key=lambda one: one.order)


def column_candidates(
    name: str, spec: TensorSpec, leaves: Sequence[Leaf], least: int, numbered_only: bool
) -> list[Candidate]:
    """Returns candidates of several fields of one object: one field for each column of the input.

    Args:
        name: The input's name. Fields of this name and a number are in the order of the numbers, others as in the records.
        spec: Its spec.
        leaves: The records' values, without those that are other inputs.
        least: How many values of each field must fit.
        numbered_only: Whether only fields of the input's name and a number count, because other inputs may be columns, too.
    """
    if spec.shape is None or len(spec.shape) != 2 or not 2 <= spec.shape[1] <= MAX_COLUMNS:
        return []
    columns, one = spec.shape[1], TensorSpec(spec.dtype, spec.shape[:1])
    objects: dict[tuple[Names, ...], list[tuple[Leaf, str, int]]] = {}
    for leaf in leaves:
        if leaf.names and (best := _best_source(leaf, one, least)) is not None:
            objects.setdefault(leaf.parent, []).append((leaf, *best))
    found = []
    for members in objects.values():
        order, chosen = BY_NUMBER, _numbered(name, columns, members)
        if not chosen and not numbered_only:
            order, chosen = AS_READ, _as_many(columns, members)
        if chosen:
            fits = min(count for _, _, count in chosen)
            source = f"[{','.join(text for _, text, _ in chosen)}]"
            found.append(dataclasses.replace(_candidate(chosen[0][0], source, fits, ONLY), columns=order))
    return sorted(found, key=lambda one: one.order)


def category(name: str, spec: TensorSpec, leaves: Sequence[Leaf], least: int) -> tuple[str, int] | None:
    """Returns the path of a text field that has the input's name, and the number of its different texts.

    ``|lookup(FILE)`` turns such short texts into numbers. ``None`` if there is no such field, or the input takes no number.
    """
    one_number = spec.dtype not in ("string", "bool") and (spec.shape is None or set(spec.shape[1:]) <= {1, -1})
    found = []
    for leaf in leaves if one_number else ():
        rank = _rank(name, leaf.names)
        texts = all(type(value) is str and len(value) <= LONGEST_TEXT for value in leaf.values)
        if rank is not None and texts and len(leaf.values) >= least and not _ID.fullmatch(leaf.names[-1]):
            found.append((_candidate(leaf, leaf.path, len(leaf.values), rank).order, leaf.path, len(set(leaf.values))))
    if not found:
        return None
    _, path, count = min(found)
    return path, count


_Member = tuple[Leaf, str, int]


def _numbered(name: str, columns: int, members: Sequence[_Member]) -> list[_Member]:
    numbers = {}
    for member in members:
        if match := re.fullmatch(rf"{re.escape(_plain(name))}(\d+)", _plain(member[0].names[-1])):
            numbers[int(match[1])] = member
    return [numbers[number] for number in sorted(numbers)] if len(numbers) == columns else []


def _as_many(columns: int, members: Sequence[_Member]) -> list[_Member]:
    """Without what looks like an id, then with it; numbers alone, then with text that holds numbers, then with times."""
    for those in ([it for it in members if not _ID.fullmatch(it[0].names[-1])], members):
        for allowed in (("",), ("", "|number"), ("", "|number", "|time")):
            chosen = [it for it in those if it[1].removeprefix(it[0].path) in allowed]
            if len(chosen) == columns:
                return chosen
    return []


def _candidate(leaf: Leaf, source: str, fits: int, rank: int) -> Candidate:
    beside = sum(name.casefold() in _BESIDE for name in leaf.names[:-1])
    return Candidate(source, leaf.path, fits, rank, beside, leaf.parent, len(leaf.names))


def _rank(name: str, names: Names) -> int | None:
    """Returns how the field that ``names`` lead to has an input's name; ``None`` if it has not."""
    if not names:
        return None
    field, wanted, plain = names[-1], _plain(name), _plain(names[-1])
    if field == name:
        return EXACT
    if plain == wanted:
        return SAME
    if any(_plain("".join(names[start:])) == wanted for start in range(len(names) - 1)):
        return JOINED
    mine, theirs = _words(name), _words(field)
    if mine and theirs and (mine <= theirs or theirs <= mine):
        return WORDS
    close = difflib.SequenceMatcher(None, plain, wanted)
    quick = close.real_quick_ratio() >= _LEAST_CLOSE and close.quick_ratio() >= _LEAST_CLOSE
    return CLOSE if quick and close.ratio() >= _LEAST_CLOSE else None


@functools.lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


@functools.lru_cache(maxsize=4096)
def _words(name: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in _WORD.findall(name))


def _best_source(leaf: Leaf, spec: TensorSpec, least: int) -> tuple[str, int] | None:
    """Returns the source that makes most values of a leaf fit (the simplest such source), and the number of these values.

    ``None`` if no source makes at least ``least`` values fit.
    """
    caster = Caster("", spec)
    best: tuple[str, int] | None = None
    for pattern in _patterns(leaf, spec) if len(leaf.values) >= least else ():
        source = parse_source(pattern.replace("{}", "$"))
        fits, may_fail = 0, len(leaf.values) - max(least, 1 if best is None else best[1] + 1)
        for value in leaf.values:
            try:
                caster.cast_one(source.find(value))
                fits += 1
            except (FieldMismatch, LookupError):
                may_fail -= 1
                if may_fail < 0:
                    break
        else:
            best = pattern.replace("{}", leaf.path), fits
            if fits == len(leaf.values):
                break
    return best


def are_images(values: Iterable[Any]) -> bool:
    """Whether all values are texts that are images in base64, as far as their beginnings tell."""
    return all(type(value) is str and is_image_text(value.encode("utf-8", "replace")) for value in values)


def _patterns(leaf: Leaf, spec: TensorSpec) -> Iterator[str]:
    """Yields sources with ``{}`` for the path, the plainest first."""
    if spec.dtype == "string":
        if are_images(leaf.values):
            yield "{}" + BASE64
        yield "{}"
        return
    yield "{}"
    lengths = {len(value) if type(value) is list else -1 for value in leaf.values}
    if lengths == {1}:
        yield "{}[0]"  # a batch dimension, or a list where one value is taken
    if spec.dtype == "bool":
        return
    yield "{}|number"
    yield "{}|time"
    yield "{}|json"
    if len(lengths) == 1 and 1 <= (count := lengths.pop()) <= MAX_COLUMNS:
        takes = None if spec.shape is None else spec.shape[1:]
        if count == 1 and takes == ():
            yield "{}[0]|number"
        elif takes and takes[0] in (count, -1):
            yield f"[{','.join(f'{{}}[{i}]|number' for i in range(count))}]"
