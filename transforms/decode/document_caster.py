"""``DocumentCaster``: parsed documents (JSON, Avro, Protobuf) to the tensors of a signature's inputs, a chunk at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from transforms.dead_letter_classes import DeadLetterClass
from transforms.formats.casting import MAX_RANK, Caster, FieldMismatch, observed_shape
from transforms.json_kinds import is_b64, json_kind
from transforms.types import Failure

_FIELDS_SHOWN = 8

_Row = tuple[int, list[tuple[Caster, Any]]]
"""A row and the value of each input it has."""

Group = tuple[Sequence[int], dict[str, np.ndarray]]
"""Rows and their tensors."""


class DocumentCaster:
    """Casts documents to the inputs of one signature.

    Args:
        casters: One for each input.
    """

    def __init__(self, casters: Sequence[Caster]):
        self._casters = casters
        self._has_defaults = any(caster.spec.has_default for caster in casters)
        self._single = casters[0] if len(casters) == 1 else None

    def cast(self, rows: Sequence[int], documents: list[Any], failures: dict[int, Failure]) -> Iterator[Group]:
        """Casts documents: as whole columns if all are alike, else by inputs and shapes.

        Args:
            rows: The row of each document in its chunk; at least one.
            documents: The documents.
            failures: Gets a ``FieldError`` for each row that does not fit.

        Yields:
            Rows of the same inputs and shapes, with their tensors.
        """
        tensors = self._cast_columns(documents)
        if tensors is not None:
            yield rows, tensors
        else:
            yield from self._cast_each(rows, documents, failures)

    def _cast_columns(self, documents: list[Any]) -> dict[str, np.ndarray] | None:
        """Casts all rows at once; ``None`` if they differ in fields or shapes, or if any value does not fit."""
        casters, columns, first = self._casters, [], documents[0]
        try:
            if self._has_defaults and type(first) is dict:
                casters = [c for c in casters if c.name in first or not c.spec.has_default]
                absent = [c.name for c in self._casters if c not in casters]
                if not casters or any(name in document for name in absent for document in documents):
                    return None
            for caster in casters:
                if caster.name == "b64":
                    return None  # {"b64": …} may be the bytes of a single input, not an object of named inputs
                columns.append([document[caster.name] for document in documents])
        except (KeyError, TypeError):
            if self._single is None or any(type(d) is dict and not is_b64(d) for d in documents):
                return None
            columns = [documents]
        tensors = {}
        for caster, column in zip(casters, columns, strict=True):
            array = caster.cast_all(column)
            if array is None:
                return None
            tensors[caster.name] = array
        return tensors

    def _cast_each(self, rows: Sequence[int], documents: list[Any], failures: dict[int, Failure]) -> Iterator[Group]:
        """Casts rows that differ: groups them by their inputs and shapes, and records the failures."""
        alike: dict[Hashable, list[_Row]] = {}
        for row, document in zip(rows, documents, strict=True):
            try:
                fields = self._fields(document)
            except FieldMismatch as error:
                failures[row] = field_error(error)
                continue
            shapes = tuple([(caster.name, observed_shape(value, MAX_RANK)) for caster, value in fields])
            alike.setdefault(shapes, []).append((row, fields))
        for members in alike.values():
            if groups := _cast_group(members, failures):
                yield _joined(groups)

    def _fields(self, document: Any) -> list[tuple[Caster, Any]]:
        """Returns the inputs that a document has; raises ``FieldMismatch`` if a required one is missing."""
        if type(document) is not dict or is_b64(document):
            if self._single is None:
                inputs = ", ".join(f"{c.name}: {c.expected}" for c in self._casters)
                raise FieldMismatch(f"expected an object with the fields {inputs}; came {json_kind(document)}")
            return [(self._single, document)]
        fields = []
        for caster in self._casters:
            if caster.name in document:
                fields.append((caster, document[caster.name]))
            elif not caster.spec.has_default:
                raise FieldMismatch(f"{caster.name}: missing; expected {caster.expected}; {_names(document)}{ABSENT}")
        if not fields:
            inputs = ", ".join(c.name for c in self._casters)
            raise FieldMismatch(f"has none of the inputs ({inputs}); {_names(document)}")
        return fields


ABSENT = "; --features says where it is, with |default(JSON) what it is where it is absent"
"""The cure of an absent field."""


def _cast_group(members: list[_Row], failures: dict[int, Failure]) -> list[Group]:
    """Casts rows of one shape. If that fails, halves them until each row that does not fit is alone."""
    rows = [row for row, _ in members]
    casters = [caster for caster, _ in members[0][1]]
    tensors: dict[str, np.ndarray] = {}
    for i, caster in enumerate(casters):
        array = caster.cast_all([fields[i][1] for _, fields in members])
        if array is None:
            break
        tensors[caster.name] = array
    else:
        return [(rows, tensors)]
    if len(members) > 1:
        half = len(members) // 2
        return _cast_group(members[:half], failures) + _cast_group(members[half:], failures)
    try:
        return [(rows, {caster.name: caster.cast_one(value) for caster, value in members[0][1]})]
    except FieldMismatch as error:
        failures[rows[0]] = field_error(error)
        return []


def _joined(groups: list[Group]) -> Group:
    """Concatenates groups that have the same inputs and shapes."""
    if len(groups) == 1:
        return groups[0]
    rows = [row for group_rows, _ in groups for row in group_rows]
    tensors = {name: np.concatenate([group[name] for _, group in groups]) for name in groups[0][1]}
    return rows, tensors


def field_error(error: FieldMismatch) -> Failure:
    """Returns the failure of a row that does not fit the signature."""
    return DeadLetterClass.FIELD_ERROR.failure(str(error))


def _names(document: dict[str, Any]) -> str:
    names = [name if len(name) <= 40 else name[:40] + "…" for name in list(document)[:_FIELDS_SHOWN]]
    more = len(document) - len(names)
    return f"fields of the record: {', '.join(names) or 'none'}" + (f" and {more} more" if more else "")
