"""``Rebalances``: what becomes of an open bundle and of known commits when the group gives or takes partitions."""

from __future__ import annotations

from transforms.kafka.config import Partition
from transforms.kafka.native.bundle import Bundle
from transforms.kafka.native.commits import Commits
from transforms.kafka.native.consumer import Reader
from transforms.observe import observer


class Rebalances:
    """The rebalances of one session.

    Args:
        reader: The session's reader.
        commits: What the session has committed.
    """

    def __init__(self, reader: Reader, commits: Commits):
        self._reader, self._commits = reader, commits
        self._known: frozenset[Partition] = frozenset()

    def follow(self, bundle: Bundle) -> bool:
        """Takes over the change of the assignment since the last call, if there is one.

        Args:
            bundle: The open bundle.

        Returns:
            Whether the bundle can't be committed any more.
        """
        change = self._reader.take_change()
        if change is None:
            return False
        if change.owned != self._known:
            self._known = change.owned
            observer().assigned([f"{topic}/{number}" for topic, number in sorted(change.owned)])
        # Was it read under the old generation, Kafka would refuse its commit (ILLEGAL_GENERATION).
        was_read = bool(bundle.first)
        if was_read:
            bundle.rebalanced = True
        else:
            bundle.group = None
        for partition in change.removed:
            # Another member may have continued from the committed offset. If the partition comes back, it is read from the
            # offset committed by then, and a rollback must not seek to before that.
            bundle.forget(partition)
            self._commits.forget(partition)
        return was_read
