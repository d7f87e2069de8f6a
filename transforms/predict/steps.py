"""What follows a failed request, if not results: ``Wait`` or ``Again``."""

from __future__ import annotations

import dataclasses

from transforms.errors import ModelError


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """The rows have to wait.

    Attributes:
        error: What became of the request.
        reason: What is waited for, for people.
        told: Whether to say so at once, because retries will hardly cure it.
    """

    error: ModelError
    reason: str
    told: bool = False


class Again:
    """The rows are sent again at once."""
