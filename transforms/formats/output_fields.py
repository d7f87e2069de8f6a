"""The fields of a prediction and their types, of which an output schema is made.

| dtype of an output | type | Avro | Protobuf |
|---|---|---|---|
| ``bool`` | ``boolean`` | ``boolean`` | ``bool`` |
| ``int8``, ``int16``, ``int32``, ``uint8``, ``uint16`` | ``int`` | ``int`` | ``int32`` |
| ``int64``, ``uint32`` | ``long`` | ``long`` | ``int64`` |
| ``uint64`` | ``ulong`` | ``bytes``, ``decimal(20, 0)`` | ``uint64`` |
| ``float16``, ``bfloat16``, ``float32`` | ``float`` | ``float`` | ``float`` |
| ``float64`` | ``double`` | ``double`` | ``double`` |
| ``string`` | ``string`` | ``string`` | ``string`` |
| ``string``, of an output named ``…_bytes`` | ``bytes`` | ``bytes`` | ``bytes`` |

A ``string`` takes any value: what is no string, as its JSON text. Each dimension behind the batch's is a list.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from transforms.types import TensorSpec

_TYPES = {
    "bool": "boolean",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int"),
    **dict.fromkeys(("int64", "uint32"), "long"),
    "uint64": "ulong",
    **dict.fromkeys(("float16", "bfloat16", "float32"), "float"),
    "float64": "double",
    "string": "string",
    "json": "string",
}
TYPES = ("boolean", "int", "long", "ulong", "float", "double", "string", "bytes")
"""The types of ``--output_types``."""

RECORD = "record"
"""The type of a field that has fields itself."""

_NAMED_TYPE = re.compile(r"([^=\s][^=]*)=(\w+)((?:\[\])*)")


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of a prediction. Each may be null.

    Attributes:
        name: Its name in JSON.
        type: One of ``TYPES``, or ``RECORD``.
        lists: How many lists its values are nested in.
        fields: Of a ``RECORD``: its fields.
    """

    name: str
    type: str
    lists: int = 0
    fields: tuple[Field, ...] = ()

    @property
    def identifier(self) -> str:
        """Its name in a schema, where only letters, digits and ``_`` are taken."""
        return identifier(self.name)


RANKED_FIELDS = (
    Field("label", "string"),
    Field("score", "double"),
    Field("top", RECORD, 1, (Field("label", "string"), Field("score", "double"))),
)
"""The fields of a prediction with ``--labels`` or ``--top_k``."""


def identifier(name: str) -> str:
    """Returns a name of letters, digits and ``_``, each other character as ``_``."""
    found = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return found if found and not found[0].isdigit() else f"_{found}"


def field_of(name: str, spec: TensorSpec) -> Field | None:
    """Returns the field of an output; ``None`` if its type can't be known."""
    found = _TYPES.get(spec.dtype)
    if found is None or spec.shape is None:
        return None
    return Field(name, "bytes" if spec.dtype == "string" and name.endswith("_bytes") else found, max(len(spec.shape) - 1, 0))


def parse_types(values: Sequence[str]) -> tuple[Field, ...]:
    """Parses ``NAME=TYPE,…``; a type with ``[]`` behind it is a list of such, with ``[][]`` a list of lists.

    Raises:
        ValueError: A part has another form, or a name stands twice.
    """
    found: dict[str, Field] = {}
    for part in (part.strip() for value in values for part in value.split(",")):
        match = _NAMED_TYPE.fullmatch(part)
        if match is None or match[2] not in TYPES:
            raise ValueError(f"{part}: give NAME=TYPE, the type one of {', '.join(TYPES)}, a list as TYPE[]")
        if match[1] in found:
            raise ValueError(f"{match[1]} is given twice")
        found[match[1]] = Field(match[1], match[2], len(match[3]) // 2)
    return tuple(found.values())


def prediction_fields(
    outputs: Mapping[str, TensorSpec],
    ranked: bool,
    pass_through: Sequence[str],
    postprocessed: bool,
    types: Sequence[Field],
) -> tuple[Field, ...]:
    """Returns the fields of the job's predictions, in the order of their JSON.

    Args:
        outputs: The model's outputs; empty if they are not known.
        ranked: Whether they are written as classes (``--labels``, ``--top_k``).
        pass_through: Fields of the input that are written beside them; ``string`` unless ``types`` says another.
        postprocessed: Whether a function of the user's returns the fields: then all must be in ``types``.
        types: The fields of ``--output_types``.

    Raises:
        ValueError: A field's type is not known, or two fields have one name in a schema.
    """
    said = {field.name: field for field in types}
    if postprocessed:
        if not types:
            raise ValueError("--postprocess: say which fields the function returns by --output_types=NAME=TYPE,…")
        found = list(types)
    else:
        found = [said.pop(name, Field(name, "string")) for name in pass_through]
        if ranked:
            found += RANKED_FIELDS
        elif outputs:
            for name in sorted(outputs):
                field = said.pop(name, None) or field_of(name, outputs[name])
                if field is None:
                    raise ValueError(
                        f"output '{name}' is {outputs[name]}, whose type in a schema is not known; "
                        f"say it by --output_types={name}=TYPE, a list as TYPE[]"
                    )
                found.append(field)
        elif said:
            found += [said.pop(field.name) for field in types if field.name in said]
        else:
            raise ValueError(
                "the server does not say which outputs the model has; name them by --output_types=NAME=TYPE,… or "
                "--signature=FILE"
            )
        if said:
            raise ValueError(f"--output_types={next(iter(said))}: a prediction has no such field; it has {_names(found)}")
    names: dict[str, str] = {}
    for field in found:
        if (other := names.setdefault(field.identifier, field.name)) != field.name:
            raise ValueError(
                f"'{other}' and '{field.name}' would both be the field {field.identifier}; leave one out by --outputs"
            )
    return tuple(found)


def _names(fields: Sequence[Field]) -> str:
    return ", ".join(field.name for field in fields)
