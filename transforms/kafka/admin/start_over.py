"""``--start_from`` other than ``committed``: moves a group's offsets before a job reads, once for each value.

A supervisor restarts a service with the same flags, which must not move the offsets again. Therefore the metadata of a
group's committed offsets keep the values that it has had (``commit_metadata.py``). A start on any machine finds them there,
and later commits keep them as long as the offsets last. Beam's Java source on remote workers commits without them.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence

import confluent_kafka as ck

from transforms.errors import ContractError, NotReadyError
from transforms.kafka.admin.checks import Checker
from transforms.kafka.commit_metadata import claim_in, commit_metadata, started_from_in
from transforms.kafka.config import Partition
from transforms.kafka.vendor import describe, is_transient
from transforms.printable import counted
from transforms.retry import Deadline

log = logging.getLogger(__name__)

RESET_MARGIN_S = 2.0
"""Seconds to wait in addition to session time-outs, until a group no longer counts a member that has gone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """What a value of ``--start_from`` would change.

    Attributes:
        start_from: The value.
        offsets: The new offset of each partition, with what is committed beside the present one.
        again: How many records the group has answered and would read again.
        skipped: How many records the group has not answered and would never read.
        before: The values that the group has had before.
        is_known: Whether the group has committed any offset: else there is nothing to move.
    """

    start_from: str
    offsets: tuple[ck.TopicPartition, ...]
    again: int
    skipped: int
    before: tuple[str, ...]
    is_known: bool

    @property
    def was_made(self) -> bool:
        """Whether the group has had this value before."""
        return self.start_from in self.before

    def described(self) -> str:
        """Says what it changes."""
        parts = [f"{counted(self.again, 'record')} will be read again"] * bool(self.again)
        parts += [
            f"{counted(self.skipped, 'record that was not read', 'records that were not read')} will be skipped"
        ] * bool(self.skipped)
        return " and ".join(parts) or "no record will be read again or skipped"


def started_from(checker: Checker, partitions: Sequence[Partition]) -> tuple[str, ...]:
    """Returns the values of ``--start_from`` that the group has had, the latest last."""
    return _marks(checker.committed(partitions))


def _marks(committed: Sequence[ck.TopicPartition]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for tp in committed for value in started_from_in(tp.metadata)))


def planned(checker: Checker, partitions: Sequence[Partition], start_from: str) -> Move:
    """Returns what ``start_from`` would change. Changes nothing."""
    committed, targets = checker.committed(partitions), checker.targets(partitions, start_from)
    again, skipped, offsets = 0, 0, []
    for tp, target in zip(committed, targets, strict=True):
        low, high = checker.watermarks(tp)
        position = min(max(tp.offset, low), high)  # where it would start without the flag
        again += max(0, position - target.offset)
        skipped += max(0, target.offset - position)
        offsets.append(ck.TopicPartition(tp.topic, tp.partition, target.offset, tp.metadata or ""))
    known = any(tp.offset >= 0 for tp in committed)
    return Move(start_from, tuple(offsets), again, skipped, _marks(committed), known)


def make(checker: Checker, move: Move) -> tuple[str, ...]:
    """Moves the group's offsets. Waits for members that have ended and whose sessions have not.

    Returns:
        The values that the group has had by now.

    Raises:
        NotReadyError: Kafka does not answer.
        ContractError: The group has members now.
    """
    config = checker.config
    had = (*(value for value in move.before if value != move.start_from), move.start_from)
    # The claims stay: a shard that still lives could commit where it was over the new offset (native/claims.py).
    offsets = [
        ck.TopicPartition(tp.topic, tp.partition, tp.offset, commit_metadata(claim_in(tp.metadata), had))
        for tp in move.offsets
    ]
    # A process that was killed, or that ended while joining, stays a member until its session times out. While it waits
    # for the others in a rebalance, its time does not run: so there may be a second time-out after theirs.
    wait_s = 2 * config.session_timeout_s + RESET_MARGIN_S
    deadline = Deadline(wait_s)
    told = False
    while True:
        try:
            checker.commit(offsets)
            return had
        except ck.KafkaException as error:
            has_members = error.args[0].code() == ck.KafkaError.UNKNOWN_MEMBER_ID
            what = f"--start_from={move.start_from}: group {config.group_id!r} can't be reset"
            if not has_members and is_transient(error.args[0]):
                raise NotReadyError(f"{what} now: {describe(error.args[0])}") from error
            if not has_members or deadline.passed:
                raise ContractError(
                    f"{what}; has it members running now? Stop them, or use another --group_id ({describe(error.args[0])})"
                ) from error
        if not told:
            log.warning("group %s has members; waiting up to %.0f s for any that have ended", config.group_id, wait_s)
            told = True
        time.sleep(0.5)
