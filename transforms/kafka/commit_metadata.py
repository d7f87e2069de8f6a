"""The text that a job commits with each offset: who reads the partition, of which topic the offset is, and which
``--start_from`` the group has had.

Kafka keeps it as long as the offset, returns it to any client that asks for the offset, and replaces it with every
commit. So every commit of ours carries all of it. ``native/claims.py``, ``committed.py`` and ``admin/start_over.py`` say
what for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import confluent_kafka as ck

from transforms.kafka.config import KafkaConfig, Partition

_CLAIM = "read by "
_TOPIC = "of "
_STARTED = "started from "
_BETWEEN = " | "

MOST_MARKS = 16
"""The oldest marks are left out beyond these: Kafka takes 4,096 bytes (``offset.metadata.max.bytes``)."""


def commit_metadata(claim: str = "", started_from: Iterable[str] = (), identity: str = "") -> str:
    """Returns the text.

    Args:
        claim: The ``transactional.id`` of the shard that reads the partition; empty for none.
        started_from: The values of ``--start_from`` that were applied to the group, the latest last.
        identity: Of the topic whose offset it is (``topic_ids.py``); empty if it is not known.
    """
    marks = list(started_from)[-MOST_MARKS:]
    parts = [_CLAIM + claim] * bool(claim) + [_TOPIC + identity] * bool(identity)
    return _BETWEEN.join(parts + [_STARTED + ", ".join(marks)] * bool(marks))


def metadata_of(config: KafkaConfig, identity: str = "", *, claim: bool = False) -> str:
    """Returns what a job commits with an offset of this topic, with the claim of this shard or without."""
    return commit_metadata(config.transactional_id if claim else "", config.started_from, identity)


def with_metadata(
    config: KafkaConfig, offsets: Mapping[Partition, int], identity_of: Callable[[Partition], str], *, claim: bool = False
) -> list[ck.TopicPartition]:
    """Returns offsets as a job commits them.

    Args:
        config: The job's.
        offsets: Partition to the offset.
        identity_of: Gives the identity of the topic that the records before the offset were read from.
        claim: Whether with the claim of this shard.
    """
    identities = {partition: identity_of(partition) for partition in offsets}
    texts = {identity: metadata_of(config, identity, claim=claim) for identity in set(identities.values())}
    return [ck.TopicPartition(*it, offset, texts[identities[it]]) for it, offset in offsets.items()]


def claim_in(text: str | None) -> str:
    """Returns the claim in a text; empty if there is none."""
    return _part(text, _CLAIM)


def identity_in(text: str | None) -> str:
    """Returns the identity of the topic in a text; empty if there is none."""
    return _part(text, _TOPIC)


def started_from_in(text: str | None) -> tuple[str, ...]:
    """Returns the values of ``--start_from`` in a text."""
    return tuple(filter(None, _part(text, _STARTED).split(", ")))


def _part(text: str | None, prefix: str) -> str:
    return next((part.removeprefix(prefix) for part in (text or "").split(_BETWEEN) if part.startswith(prefix)), "")
