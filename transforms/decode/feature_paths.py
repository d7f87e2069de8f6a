"""``--features``: nested documents → flat documents of the model's inputs by name, before values are cast."""

from __future__ import annotations

from typing import Any

from transforms.decode.optional_inputs import optional_inputs
from transforms.errors import ContractError
from transforms.formats.casting import FieldMismatch
from transforms.formats.field_paths import NotFoundError
from transforms.formats.options import Paths
from transforms.formats.sources import Columns, FieldSource, field, parse_source
from transforms.types import Signature, TensorSpec


class Features:
    """Picks the inputs of one signature. An input without a source is taken from the field of the same name.

    Attributes:
        sources: The source of each input.
        labels: How messages name the inputs that have a source of their own.

    Args:
        signature: The model's signature. If it is not known, only the inputs named in ``paths`` are sent.
        paths: Input name to source (``sources.py``). An empty name stands for the only input of the model.
        null_is_absent: Whether null is absence to every optional input; else to those that say so by ``default(null)``.

    Raises:
        ContractError: A source names an input that the signature does not have, or has another number of columns than it.
    """

    def __init__(self, signature: Signature, paths: Paths, null_is_absent: bool = False):
        given = {_named(name, signature): parse_source(text) for name, text in paths}
        if signature.known:
            for name, source in given.items():
                if name not in signature.inputs:
                    inputs = ", ".join(signature.inputs)
                    raise ContractError(f"--features: '{name}' is no input of '{signature.name}', which takes {inputs}")
                _check_columns(name, source, signature.inputs[name])
        names = signature.inputs if signature.known else given
        self.sources: dict[str, FieldSource] = {name: given.get(name) or field(name) for name in names}
        self._optional = optional_inputs(signature)
        self._nullable = {it for it in self._optional if null_is_absent or self.sources[it].null_is_absent}
        self.labels = {name: f"{name} ({source.label})" for name, source in given.items()}

    def pick(self, document: Any) -> dict[str, Any]:
        """Returns the inputs that ``document`` has, by name.

        Raises:
            FieldMismatch: A required input is missing, or all inputs are; or a value is not what a word changes.
        """
        picked = {}
        for name in self.sources:
            try:
                picked[name] = self.find(name, document)
            except NotFoundError as error:
                if name not in self._optional:
                    raise FieldMismatch(f"{name}: missing in the record; {error}") from None
            except FieldMismatch as error:
                raise FieldMismatch(f"{self.labels.get(name, name)}: {error}") from None
        if not picked:
            raise FieldMismatch(f"has none of the inputs ({', '.join(self.sources)})")
        return picked

    def find(self, name: str, document: Any) -> Any:
        """Returns the value of one input.

        Raises:
            NotFoundError: The document has none.
            FieldMismatch: A word can't be applied to it.
        """
        source = self.sources[name]
        value = source.find(document)
        if value is None and name in self._nullable:
            raise NotFoundError(f"{source.shown} is null")
        return value


def _named(name: str, signature: Signature) -> str:
    if name:
        return name
    if len(signature.inputs) != 1:
        inputs = ", ".join(signature.inputs) or "no inputs that are known"
        raise ContractError(f"--features: name the input, as in INPUT=PATH: '{signature.name}' takes {inputs}")
    return next(iter(signature.inputs))


def _check_columns(name: str, source: FieldSource, spec: TensorSpec) -> None:
    if not isinstance(source, Columns) or spec.shape is None:
        return
    columns = len(source.sources)
    if len(spec.shape) < 2 or spec.shape[1] not in (-1, columns):
        takes = TensorSpec(spec.dtype, spec.shape[1:]) if spec.shape[1:] else f"one {spec.dtype}"
        raise ContractError(f"--features: {name}={source.shown}: has {columns} columns, but the input takes {takes}")
