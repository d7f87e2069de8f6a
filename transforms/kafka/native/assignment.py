"""``AssignmentChange``: the change that a rebalance made to the partitions of a reader."""

from __future__ import annotations

import dataclasses

from transforms.kafka.config import Partition


@dataclasses.dataclass(frozen=True, slots=True)
class AssignmentChange:
    """One or more rebalances. Group metadata taken before them is outdated, even if no partition moved.

    Attributes:
        owned: The partitions owned now.
        removed: The partitions revoked or lost, including those that came back. Another member may have worked on them
            meanwhile.
    """

    owned: frozenset[Partition] = frozenset()
    removed: frozenset[Partition] = frozenset()

    def after(self, earlier: AssignmentChange | None) -> AssignmentChange:
        """Returns one change that combines ``earlier`` and this one; this one alone if ``earlier`` is ``None``."""
        return self if earlier is None else AssignmentChange(self.owned, self.removed | earlier.removed)
