"""``--features``: nested documents → flat documents of the model's inputs by name, before values are cast."""

from __future__ import annotations

from typing import Any

from transforms.decode.field_paths import FieldPath, NotFoundError
from transforms.errors import ContractError
from transforms.formats.casting import FieldMismatch
from transforms.formats.options import Paths
from transforms.types import Signature


class Features:
    """Picks the inputs of one signature. An input without a path is taken from the field of the same name.

    Args:
        signature: The model's signature. If it is not known, only the inputs named in ``paths`` are sent.
        paths: Input name to path.

    Raises:
        ContractError: A path names an input that the signature does not have.
    """

    def __init__(self, signature: Signature, paths: Paths):
        given = {name: FieldPath.parse(path) for name, path in paths}
        if signature.known:
            for name in given:
                if name not in signature.inputs:
                    inputs = ", ".join(signature.inputs)
                    raise ContractError(f"--features: '{name}' is no input of '{signature.name}', which takes {inputs}")
        names = signature.inputs if signature.known else given
        self._paths = [(name, given.get(name) or FieldPath(f"$.{name}", (name,))) for name in names]
        self._optional = {name for name, spec in signature.inputs.items() if spec.has_default}
        self.labels = {name: f"{name} ({path.text})" for name, path in self._paths if name in given}

    def pick(self, document: Any) -> dict[str, Any]:
        """Returns the inputs that ``document`` has, by name.

        Raises:
            FieldMismatch: A required input is missing, or all inputs are.
        """
        picked = {}
        for name, path in self._paths:
            try:
                picked[name] = path.find(document)
            except NotFoundError as error:
                if name not in self._optional:
                    raise FieldMismatch(f"{name}: missing in the record; {error}") from None
        if not picked:
            raise FieldMismatch(f"has none of the inputs ({', '.join(name for name, _ in self._paths)})")
        return picked
