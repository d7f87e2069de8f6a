"""What follows a failed request, if not results: ``Wait`` or ``Again``."""

from __future__ import annotations

import dataclasses

from transforms.errors import ModelError


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """The rows have to wait.

    Attributes:
        error: What became of the request.
        why: What is waited for, for people; ``None``: what the error says.
        told: Whether to say so at once, because retries will hardly cure it.
    """

    error: ModelError
    why: str | None = None
    told: bool = False

    @property
    def reason(self) -> str:
        """What is waited for. It is read only if the rows do wait: to show an error's text is to look through it."""
        return self.why if self.why is not None else str(self.error)


class Again:
    """The rows are sent again at once."""
