"""The bundle guard: keeps the Kafka source alive while a bundle waits for the model server or the schema registry."""

from __future__ import annotations

from typing import Protocol

CHECK_S = 0.25
"""Seconds between two checks of a waiting bundle whether it can still be committed."""


class BundleGuard(Protocol):
    """Keeps the source alive while a bundle waits. Must be picklable.

    ``SessionGuard`` is the one for ``ReadFromKafka``: it polls Kafka, so that the process stays a member of the group.
    """

    def keep_alive(self, holding: bool = False) -> bool:
        """Called every ``CHECK_S`` while a bundle waits.

        Args:
            holding: Whether it waits for a server that is down, so that nobody knows for how long.

        Returns:
            Whether the bundle can still be committed. If not, its requests are cancelled and it emits nothing.
        """


class NoGuard:
    """The guard for sources that need none."""

    def keep_alive(self, holding: bool = False) -> bool:
        """Returns true: the bundle goes on waiting."""
        return True
