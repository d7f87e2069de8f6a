"""``--features``: nested documents → flat documents of the model's inputs by name, before values are cast."""

from __future__ import annotations

from typing import Any

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

    Raises:
        ContractError: A source names an input that the signature does not have, or has another number of columns than it.
    """

    def __init__(self, signature: Signature, paths: Paths):
        given = {_named(name, signature): parse_source(text) for name, text in paths}
        if signature.known:
            for name, source in given.items():
                if name not in signature.inputs:
                    inputs = ", ".join(signature.inputs)
                    raise ContractError(f"--features: '{name}' is no input of '{signature.name}', which takes {inputs}")
                _check_columns(name, source, signature.inputs[name])
        names = signature.inputs if signature.known else given
        self.sources: dict[str, FieldSource] = {name: given.get(name) or field(name) for name in names}
        self._optional = {name for name, spec in signature.inputs.items() if spec.has_default}
        self.labels = {name: f"{name} ({source.label})" for name, source in given.items()}

    def pick(self, document: Any) -> dict[str, Any]:
        """Returns the inputs that ``document`` has, by name.

        Raises:
            FieldMismatch: A required input is missing, or all inputs are; or a value is not what a word changes.
        """
        picked = {}
        for name, source in self.sources.items():
            try:
                picked[name] = source.find(document)
            except NotFoundError as error:
                if name not in self._optional:
                    raise FieldMismatch(f"{name}: missing in the record; {error}") from None
            except FieldMismatch as error:
                raise FieldMismatch(f"{self.labels.get(name, name)}: {error}") from None
        if not picked:
            raise FieldMismatch(f"has none of the inputs ({', '.join(self.sources)})")
        return picked


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
