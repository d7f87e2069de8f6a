"""What a bundle needs from its Kafka source: to be kept alive while it waits, and to carry records over into the next one.

A bundle waits for the model server or the schema registry (``BundleGuard``). If there is more to read, it need not wait for
its last answers: records without an answer are carried over into the next bundle (``Carrier``). When the job
stops, records that it did not ask for may be left to the next run (``Leaver``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from transforms.types import KafkaRecord

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


class Carrier(Protocol):
    """Lets records go over into the next bundle. Must be picklable. ``SessionCarrier`` is the one for ``ReadFromKafka``."""

    def carry(self, records: Iterable[KafkaRecord]) -> object | None:
        """Called when a bundle has sent all requests and some are not answered yet, again after each wait.

        Args:
            records: Those without an outcome: the last ones of the bundle, in their order. Taken only if they may go over.

        Returns:
            What ``take_over`` is to be called with in the next bundle; ``None`` if this bundle has to answer them.
        """

    def take_over(self, carried: object) -> bool:
        """Called in the next bundle, after its source has begun and before an outcome of the records is emitted.

        Returns:
            Whether the bundle still has them. If not, they are read again: forget them and cancel their requests.
        """


class NoCarrier:
    """The carrier for sources whose bundles answer all of their records."""

    def carry(self, records: Iterable[KafkaRecord]) -> object | None:
        """Returns ``None``: the bundle answers them."""
        return None

    def take_over(self, carried: object) -> bool:
        """Returns false."""
        return False


class Leaver(Protocol):
    """Lets records be left for the next run when the job stops. Must be picklable. ``SessionLeaver`` is Kafka's."""

    def stops(self) -> bool:
        """Returns whether the job stops, so that records that wait for the rate limits are to be left."""

    def leave(self, records: Iterable[KafkaRecord]) -> bool:
        """Called when all outcomes of a bundle are emitted but those of ``records``: its last ones, in their order.

        Returns:
            Whether the bundle can be committed without them.
        """


class NoLeaver:
    """The leaver for sources whose bundles answer all of their records."""

    def stops(self) -> bool:
        """Returns false."""
        return False

    def leave(self, records: Iterable[KafkaRecord]) -> bool:
        """Returns false."""
        return False
