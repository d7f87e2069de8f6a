"""``InputWatch``: notices that an input topic was deleted, or made again, while it is read.

librdkafka reports neither reliably. It fetches by the topic's id, but takes a new id from the metadata and continues at the
former topic's position. It would silently skip the new topic's records before that position
(``rd_kafka_topic_metadata_update`` in rdkafka_topic.c has a FIXME on it, in 2.16). Therefore Kafka is asked for the topics
at intervals, and a commit waits, up to ``WAIT_S``, for an answer that is hardly older than the bundle's records.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.committed import SURE_S, is_of_another
from transforms.kafka.config import Partition
from transforms.kafka.obstacles import CURABLE
from transforms.kafka.topic_ids import UNKNOWN, Asked, Identity, TopicIds
from transforms.kafka.vendor import describe

log = logging.getLogger(__name__)

LOOK_S = 0.25
"""How often Kafka is asked, and how much earlier than a bundle's last record an answer may have been asked for that lets the
bundle be committed. librdkafka needs about as long to find a topic that was made again. A look at a small topic takes 4 ms
of CPU, measured in a sandbox where the network is slow: 2% of a core.
"""

PARTITION_LOOK_S = 0.003
"""How much less often for each partition of the topics. An answer describes them all, with their replicas, and takes 0.03 ms
of CPU for each: 1,000 of them would take a seventh of a core.
"""

IDLE_LOOK_S = 1.0
"""How often Kafka is asked while nothing is read, at most. What is read next is committed after a new answer."""

WAIT_S = 0.5
"""How long a commit waits for that answer. Without it the commit is made: nothing is lost, some may be answered again."""

NO_WAIT_S = 10.0
"""How long no commit waits after one has waited in vain."""


class InputLostError(KafkaError):
    """The input can't be read on as it was: a topic is gone, or was made again, or may not be read any more.

    The reader has to start over from what is committed, once the input is there.
    """


class InputWatch:
    """Watches the input topics of one reader.

    Args:
        ids: Asks for the topics.
        clock: Seconds, monotonic.
    """

    def __init__(self, ids: TopicIds, clock: Callable[[], float] = time.monotonic):
        self._ids, self._clock = ids, clock
        self._asked: Asked | None = None
        self._asked_at = self._answered_at = self._read_at = clock()
        self._look_s = self._ask_after_s = LOOK_S
        self._wait_after = float("-inf")
        self._missing: set[str] = set()
        self.identities: dict[str, str] = {}

    def look(self, reading: Mapping[Partition, str]) -> str | None:
        """Takes an answer if there is one, and asks again if it is time to. Waits for nothing.

        Args:
            reading: Each partition that is read, with the identity of its topic.

        Returns:
            Why the input can't be read on as it was; ``None`` if it can, as far as is known.
        """
        lost = None
        if self._asked is not None and self._asked.is_answered:
            lost = self._take(self._asked, 0.0, reading)
        if self._asked is None and self._clock() >= self._asked_at + self._pause_s():
            self._ask()
        return lost

    def note_read(self) -> None:
        """Notes that records were read."""
        self._read_at = self._clock()

    def confirm(self, reading: Mapping[Partition, str]) -> str | None:
        """As ``look``, for what was read last: by an answer that was asked for late enough. Waits for it, not for long."""
        lost = self.look(reading)
        while lost is None and self._is_outdated() and self._ids.are_there and self._clock() >= self._wait_after:
            asked = self._asked or self._ask()
            began = self._clock()
            lost = self._take(asked, WAIT_S, reading)
            if self._clock() - began >= WAIT_S:
                self._wait_after = self._clock() + NO_WAIT_S
        return lost

    def _pause_s(self) -> float:
        is_idle = self._clock() - self._read_at > IDLE_LOOK_S and not self._missing
        return max(IDLE_LOOK_S, self._ask_after_s) if is_idle else self._ask_after_s

    def _is_outdated(self) -> bool:
        return self._answered_at < self._read_at - self._look_s

    def _ask(self) -> Asked | None:
        if self._ids.are_there:
            self._asked_at, self._ask_after_s, self._asked = self._clock(), self._look_s, self._ids.ask()
        return self._asked

    def _take(self, asked: Asked | None, timeout_s: float, reading: Mapping[Partition, str]) -> str | None:
        if asked is None:
            return None
        answer, self._asked = asked.answer(timeout_s), None
        self._look_s = self._ask_after_s = LOOK_S + PARTITION_LOOK_S * asked.partitions
        self._answered_at = max(self._answered_at, self._asked_at)
        return self._lost(answer, reading)

    def look_now(self, reading: Mapping[Partition, str]) -> str | None:
        """As ``look``, but waits for the answer: for a reader that has met an error. It may be no topic's fault."""
        try:
            answer = self._ids.ask().answer()
        except ck.KafkaException:
            return None
        self._asked = None
        return self._lost(answer, reading)

    def _lost(self, answer: Mapping[str, Identity], reading: Mapping[Partition, str]) -> str | None:
        self.identities |= {topic: identity for topic, identity in answer.items() if isinstance(identity, str)}
        for topic, identity in sorted({(topic, identity) for (topic, _), identity in reading.items()}):
            if is_of_another(identity, self.identities.get(topic, UNKNOWN)):
                return f"the input topic {topic} was deleted and made again"
        errors = {topic: it for topic, it in answer.items() if isinstance(it, ck.KafkaError) and it.code() in CURABLE}
        sure = self._missing & errors.keys()  # twice in a row: a broker may be a little late
        self._missing = set(errors)
        if errors and not sure:
            self._ask_after_s = SURE_S
        return f"the input topic {min(sure)}: {describe(errors[min(sure)])}" if sure else None
