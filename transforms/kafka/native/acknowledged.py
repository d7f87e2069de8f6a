"""``AcknowledgedWriter``: the outputs of a bundle first, and its source offsets once all of them are acknowledged.

So nothing can be lost; what was written before a process died is written again.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.deliveries import from_unwritten_on
from transforms.kafka.native.patience import Patience
from transforms.kafka.native.producer import NotCommittedError, Writer
from transforms.kafka.vendor import describe
from transforms.types import OutputRecord

log = logging.getLogger(__name__)

STEP_S = 1.0
"""How long outputs are waited for at a time."""

ASK_EVERY = 4
"""After so many steps Kafka is asked what keeps it from taking outputs."""

NOT_ACKNOWLEDGED = ck.KafkaError(ck.KafkaError._TIMED_OUT, "outputs are not acknowledged")


class AcknowledgedWriter(Writer):
    """Outputs first; offsets are committed only after the broker has acknowledged every output of the bundle."""

    def commit(self, offsets: list[ck.TopicPartition], reader: Reader, group: Any) -> None:
        """Waits for every acknowledgement, then commits the offsets. While Kafka is away that may take for ever.

        Raises:
            ObstructedError: A topic or a right is missing.
            KafkaError: A drain has waited for long.
        """
        with Patience("outputs", self._clock) as patience:
            for step in itertools.count(1):
                if not (left := self.producer.flush(STEP_S)):
                    break
                if step % ASK_EVERY == 0:
                    self._raise_obstacle()
                if not patience.lasts(NOT_ACKNOWLEDGED):
                    raise KafkaError(f"outputs: {left} were not acknowledged, and their records will be read again")
        self._raise_permanent_failure()
        if (failed := self.deliveries.failure or self.deliveries.first_refused) is not None:
            topic, error = failed
            raise NotCommittedError(f"writing to {topic}: {describe(error)}")
        self.deliveries.delivered()
        reader.commits.commit(reader.consumer, offsets)

    def to_write_again(self, outputs: list[OutputRecord], unwritten: Collection[int]) -> list[OutputRecord]:
        """As ``Writer.to_write_again``: those that are missing, and what came after them."""
        return from_unwritten_on(outputs, unwritten)

    def commit_last(self, offsets: list[ck.TopicPartition], reader: Reader) -> None:
        """Commits the offsets and waits for it, behind those that are on their way."""
        if offsets:
            try:
                reader.consumer.commit(offsets=offsets, asynchronous=False)
            except ck.KafkaException as error:
                log.warning("the last offsets were not committed, their records will be read again: %s", error)
