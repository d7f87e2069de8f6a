"""The text that a job commits beside each offset: who reads the partition, and which ``--start_from`` the group has had.

Kafka keeps it as long as the offset, gives it on any machine to whoever asks for the offset, and replaces it with every
commit. So every commit of ours carries all of it. ``native/claims.py`` and ``admin/start_over.py`` say what for.
"""

from __future__ import annotations

from collections.abc import Iterable

from transforms.kafka.config import KafkaConfig

_CLAIM = "read by "
_STARTED = "started from "
_BETWEEN = " | "

MOST_MARKS = 16
"""The oldest marks are left out beyond these: Kafka takes 4,096 bytes (``offset.metadata.max.bytes``)."""


def commit_metadata(claim: str = "", started_from: Iterable[str] = ()) -> str:
    """Returns the text.

    Args:
        claim: The ``transactional.id`` of the shard that reads the partition; empty for none.
        started_from: The values of ``--start_from`` that were applied to the group, the latest last.
    """
    marks = list(started_from)[-MOST_MARKS:]
    parts = [_CLAIM + claim] * bool(claim) + [_STARTED + ", ".join(marks)] * bool(marks)
    return _BETWEEN.join(parts)


def metadata_of(config: KafkaConfig, *, claim: bool = False) -> str:
    """Returns what a job commits with its offsets, with the claim of this shard or without."""
    return commit_metadata(config.transactional_id if claim else "", config.started_from)


def claim_in(text: str | None) -> str:
    """Returns the claim in a text; empty if there is none."""
    return _part(text, _CLAIM)


def started_from_in(text: str | None) -> tuple[str, ...]:
    """Returns the values of ``--start_from`` in a text."""
    return tuple(filter(None, _part(text, _STARTED).split(", ")))


def _part(text: str | None, prefix: str) -> str:
    return next((part.removeprefix(prefix) for part in (text or "").split(_BETWEEN) if part.startswith(prefix)), "")
