"""``Ends``: the end offsets at which a job with ``--until_end`` ends, also where a topic is made again meanwhile.

They are the topics' end offsets at the start of the job. A topic that is made again is a new topic, which is read from its
start. The former topic's end offsets do not apply to it: reading might never reach them, or stop too early. They are
replaced by the new topic's end offsets, as they are when it is first read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

from transforms.kafka.committed import is_of_another
from transforms.kafka.config import Partition
from transforms.kafka.stop import StopConditions
from transforms.kafka.topic_ids import UNKNOWN

log = logging.getLogger(__name__)


class Ends:
    """The end offsets of a job.

    Args:
        stop: The stop conditions of the job, with end offsets.

    Attributes:
        pending: The partitions whose end offset the group has to commit before the job ends, with it.
    """

    def __init__(self, stop: StopConditions):
        self._offsets = dict(stop.end_offsets or ())
        self._identities = dict(stop.identities)
        self._unknown: set[str] = set()
        self.pending = {partition: self._offsets[partition] for partition in stop.pending}

    @property
    def are_known(self) -> bool:
        """Whether the ends of all topics are known: not for a moment, where one was made again."""
        return not self._unknown

    def of(self, partition: Partition) -> float:
        """Returns the offset before which the partition is read; infinite while it is not known."""
        return math.inf if partition[0] in self._unknown else self._offsets.get(partition, 0)

    def follow(self, identities: Mapping[str, str]) -> None:
        """Forgets the ends of topics that were made again.

        Args:
            identities: Topic to its identity now, as far as it is known.
        """
        for topic, identity in identities.items():
            if is_of_another(self._identities.get(topic, UNKNOWN), identity):
                self._identities[topic] = identity
                self._unknown.add(topic)
                for known in (self._offsets, self.pending):
                    for partition in [it for it in known if it[0] == topic]:
                        del known[partition]

    def renew(self, ends_of: Callable[[str], Mapping[Partition, int] | None]) -> None:
        """Asks for the ends that were forgotten. What is not answered is asked for again at the next call.

        Args:
            ends_of: Returns the end offsets of a topic's partitions; ``None`` if Kafka does not say them now.
        """
        for topic in sorted(self._unknown):
            if (ends := ends_of(topic)) is not None:
                self._unknown.discard(topic)
                self._offsets |= ends
                self.pending |= {partition: end for partition, end in ends.items() if end}
                log.warning(
                    "--until_end: the input topic %s was deleted and made again; it is read up to its own ends, as they are "
                    "now: offsets up to %s in %d partitions",
                    topic, f"{max(ends.values(), default=0):,}", len(ends),
                )  # fmt: skip
