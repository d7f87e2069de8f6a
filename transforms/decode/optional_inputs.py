"""Inputs that a record need not have, and null: in Avro and Protobuf a field can't be absent otherwise, in JSON it can.

So a null of an optional input is absence where the format has no other. In JSON it is a value that no input takes, perhaps a
mistake; ``|default(null)`` in ``--features`` says that it is absence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transforms.formats.codecs import AVRO, PROTOBUF
from transforms.types import Signature

NULL_IS_ABSENT = frozenset((AVRO, PROTOBUF))
"""The input formats in which a field that is there in the schema can't be left out of a record."""


def optional_inputs(signature: Signature) -> frozenset[str]:
    """Returns the names of the inputs that a record need not have."""
    return frozenset(name for name, spec in signature.inputs.items() if spec.has_default)


def without_nulls(documents: Iterable[Any], optional: frozenset[str]) -> list[Any]:
    """Returns documents without those of their fields that are optional inputs and null."""
    return [
        {name: value for name, value in document.items() if value is not None or name not in optional}
        if type(document) is dict and any(document.get(name, name) is None for name in optional)
        else document
        for document in documents
    ]
