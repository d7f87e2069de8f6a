"""Keeping the source alive while a bundle waits for a server: for the model server's sake, or the schema registry's."""

from __future__ import annotations

from typing import Protocol

CHECK_S = 0.25
"""How often a bundle that waits for a server looks whether it is still worth waiting."""


class BundleGuard(Protocol):
    """Keeps the source alive while a bundle waits; picklable."""

    def keep_alive(self) -> bool:
        """Called every ``CHECK_S`` while waiting.

        Returns:
            Whether the bundle can still be committed; if not, its requests are cancelled and nothing of it leaves.
        """


class NoGuard:
    """For sources that need no keeping alive."""

    def keep_alive(self) -> bool:
        """Waits on."""
        return True
