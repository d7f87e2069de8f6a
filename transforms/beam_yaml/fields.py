"""What a step of Beam YAML was given: its fields and the schema of its input, checked; each mistake names step and field."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from apache_beam.typehints.schemas import named_fields_from_element_type

Schema = Mapping[str, Any]
"""The fields of rows, in their order: name to Python type."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fields:
    """Checks the fields of one step.

    Attributes:
        step: The step's type, for messages.
    """

    step: str

    def mistake(self, field: str, problem: str) -> ValueError:
        """Returns the error of a field."""
        return ValueError(f"{self.step}: {field}: {problem}")

    def text(self, field: str, value: object) -> str:
        """Returns a field that is text.

        Raises:
            ValueError: It is something else, or empty.
        """
        if not isinstance(value, str) or not value.strip():
            raise self.mistake(field, f"text is needed, not {value!r}")
        return value

    def texts(self, field: str, value: object) -> tuple[str, ...]:
        """Returns a field that is a list of texts.

        Raises:
            ValueError: It is something else, or empty.
        """
        if isinstance(value, str):
            raise self.mistake(field, f"a list is needed; write {field}: [{value}]")
        if not isinstance(value, list | tuple) or not value or not all(isinstance(it, str) and it for it in value):
            raise self.mistake(field, f"a list of names is needed, not {value!r}")
        return tuple(value)

    def properties(self, field: str, value: object) -> tuple[tuple[str, str], ...]:
        """Returns a field that is a mapping of names to simple values. YAML's ``true`` and ``10`` come back as text.

        Raises:
            ValueError: It is something else. The message holds no value: it may be a password.
        """
        if not isinstance(value, Mapping):
            raise self.mistake(field, "a mapping of names to values is needed")
        for name, given in value.items():
            if not isinstance(name, str) or not isinstance(given, str | int | float):
                raise self.mistake(field, f"{name}: one value is needed, text or a number")
        return tuple((name, str(it).lower() if isinstance(it, bool) else str(it)) for name, it in value.items())

    def number(self, field: str, value: object, *, whole: bool = False) -> None:
        """Refuses a field that is neither left out nor a number above 0.

        Raises:
            ValueError: It is something else.
        """
        kinds: Any = int if whole else (int, float)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or value <= 0):
            raise self.mistake(field, f"a {'whole ' if whole else ''}number above 0 is needed, not {value!r}")

    def schema(self, rows: Any) -> Schema:
        """Returns the schema of the input.

        Raises:
            ValueError: It has none.
        """
        try:
            return dict(named_fields_from_element_type(rows.element_type))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{self.step}: its input has no schema ({rows.element_type}): let a step before it give rows, such as "
                "ReadFromKafkaNative, or MapToFields with an output_type for each callable"
            ) from error

    def lacking(self, schema: Schema, needed: Iterable[str]) -> str:
        """Returns which fields the input lacks, and which it has; ``""`` if it has them all."""
        missing = [name for name in needed if name not in schema]
        return f"the rows have no field {', '.join(missing)}; they have {', '.join(schema)}" if missing else ""
