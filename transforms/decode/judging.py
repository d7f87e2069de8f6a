"""``Judge``: each input of a document judged alone, for a report. The decoder itself stops at a record's first fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.decode.feature_paths import Features
from transforms.decode.features import cast_value
from transforms.decode.preprocess import is_plain
from transforms.formats.casting import Caster, FieldMismatch
from transforms.formats.field_paths import NotFoundError
from transforms.json_kinds import is_b64
from transforms.types import Signature


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one input of one document.

    Attributes:
        values: The value that was found; empty if there is none.
        problem: Why the value does not fit, or could not be changed by a word; empty if it fits or is missing.
        missing: Where nothing was found, if that is known; empty if there is a value.
        at_fault: Whether this input makes the record a dead letter.
    """

    values: tuple[Any, ...] = ()
    problem: str = ""
    missing: str = ""
    at_fault: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """The documents of a chunk, judged.

    Attributes:
        rows: The rows of the records that could be read and, with ``--preprocess``, that the function made something of.
        documents: Theirs: what inputs are taken from.
        inputs: By input: one judgement for each of the documents.
    """

    rows: Sequence[int]
    documents: Sequence[Any]
    inputs: Mapping[str, Sequence[Judgement]]

    def at_fault(self) -> set[int]:
        """Returns the rows of which at least one input does not fit."""
        return {self.rows[i] for found in self.inputs.values() for i, one in enumerate(found) if one.at_fault}


class Judge:
    """Judges documents by the rules of the decoder.

    Args:
        signature: What the model takes; it must be known.
        features: Where the inputs are, if not in fields of their names.
        returned: Whether the documents are what a function of the user's returned, and may hold more than JSON does.
    """

    def __init__(self, signature: Signature, features: Features | None, returned: bool):
        self._signature, self._features, self._returned = signature, features, returned
        labels = {} if features is None else features.labels
        self._casters = {name: Caster(name, spec, labels.get(name)) for name, spec in signature.inputs.items()}
        self._single = len(signature.inputs) == 1

    def judge(self, rows: Sequence[int], documents: Sequence[Any]) -> Judged:
        """Judges every input of each document."""
        inputs: dict[str, list[Judgement]] = {name: [] for name in self._casters}
        for document in documents:
            found = {name: self._find(name, document) for name in inputs}
            by_json = not self._returned or all(is_plain(value) for one in found.values() for value in one.values)
            for name, one in found.items():
                inputs[name].append(self._cast(name, one, by_json) if one.values else one)
        return Judged(rows, documents, inputs)

    def _find(self, name: str, document: Any) -> Judgement:
        optional = self._signature.inputs[name].has_default
        if self._features is not None:
            try:
                return Judgement((self._features.find(name, document),))
            except NotFoundError as error:
                return Judgement(missing=str(error), at_fault=not optional)
            except FieldMismatch as error:
                return Judgement(problem=str(error), at_fault=True)
        if type(document) is not dict or is_b64(document):
            return Judgement((document,)) if self._single else Judgement(missing="the record is no object", at_fault=True)
        return Judgement((document[name],)) if name in document else Judgement(missing=f"$.{name}", at_fault=not optional)

    def _cast(self, name: str, found: Judgement, by_json: bool) -> Judgement:
        try:
            if by_json:
                self._casters[name].cast_one(found.values[0])
            else:
                cast_value(name, self._signature.inputs[name], found.values[0])
        except FieldMismatch as error:
            return dataclasses.replace(found, problem=str(error), at_fault=True)
        return found
