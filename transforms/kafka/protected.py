"""``PROTECTED``: librdkafka's properties that ``--kafka_config`` may not change: a flag or a guarantee
rests on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Protected:
    """Why a property is ours.

    Attributes:
        why: The flag that sets it, or what rests on it.
        takes: The values that change nothing, and so are taken.
    """

    why: str
    takes: tuple[str, ...] = ()

    def problem(self, value: str) -> str | None:
        """Returns why a value is refused, with the cure; ``None`` if it changes nothing."""
        if value.strip().lower() in self.takes:
            return None
        cure = f"leave it out, or give {self.takes[0]}" if self.takes else "leave it out"
        return f"can't be set: {self.why}; {cure}"


_SERVERS = Protected("it is --bootstrap_servers")
_AUTO_COMMIT = Protected(
    "offsets are committed with the outputs of their records, and never without: exactly once rests on it"
)
_ACKS = Protected(
    "an output counts as written when all in-sync replicas have it: nothing is lost with a broker", ("all", "-1")
)

PROTECTED: Mapping[str, Protected] = {
    "bootstrap.servers": _SERVERS,
    "metadata.broker.list": _SERVERS,
    "group.id": Protected("it is --group_id"),
    "group.instance.id": Protected("a replica is named by --instance_id, and what a dead one read moves on at once"),
    "group.protocol.type": Protected("the members of the group are consumers", ("consumer",)),
    "partition.assignment.strategy": Protected(
        "partitions move one by one, and a bundle of those that stay is not read again", ("cooperative-sticky",)
    ),
    "enable.auto.commit": _AUTO_COMMIT,
    "auto.commit.enable": _AUTO_COMMIT,
    "enable.auto.offset.store": _AUTO_COMMIT,
    "offset.store.method": Protected("the group's offsets are in Kafka, with which the outputs commit", ("broker",)),
    "auto.offset.reset": Protected(
        "records that were deleted are never skipped without a word; --start_from says where a group starts"
    ),
    "enable.partition.eof": Protected("the ends of partitions are known by it, past the markers of transactions"),
    "isolation.level": Protected("records of transactions that were aborted are not scored", ("read_committed",)),
    "allow.auto.create.topics": Protected("a reader makes no topic again, empty, that was deleted", ("false",)),
    "enable.idempotence": Protected("no output is written twice by a retry, and their order stays"),
    "transactional.id": Protected("it is made of --group_id and --instance_id: by it a replica fences its former self"),
    "acks": _ACKS,
    "request.required.acks": _ACKS,
    "enable.gapless.guarantee": Protected("an output that Kafka refuses is a dead letter, not the end", ("false",)),
    "delivery.report.only.error": Protected("what was written is known by the reports of what was not"),
    "logger": Protected("librdkafka's lines go to the program's own log"),
}  # fmt: skip

MOCK = "test.mock."
"""Prefix of the properties by which librdkafka puts a broker of its own, in memory, in the place of the real one."""


def protected_problem(name: str, value: str) -> str | None:
    """Returns why ``--kafka_config NAME=VALUE`` is refused, with the cure; ``None`` if it is the user's to set."""
    if name.startswith(MOCK):
        return "can't be set: it puts a broker in memory in the place of --bootstrap_servers; leave it out"
    found = PROTECTED.get(name)
    return None if found is None else found.problem(value)
