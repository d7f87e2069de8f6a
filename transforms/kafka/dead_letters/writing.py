"""``ReplayTransactions``: outputs of a replay and the ledger's entries become final together, each exactly once.

Each dead-letter topic has one producer, with a fixed ``transactional.id``. Opening it fences the previous producer and ends
that one's open transaction (KIP-98). The ledger is read after that: it has all that a killed run has committed, and that run
can commit nothing more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.headers import ERROR_CLASS
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import ASSIGN_STATIC, KafkaConfig
from transforms.kafka.dead_letters.ledger import Ledger, Place
from transforms.kafka.grants import on_transactional_id
from transforms.kafka.native.bundle import Bundle
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.deliveries import Refusal
from transforms.kafka.native.mending import Mended, Mender, ReadLimits
from transforms.kafka.native.outputs import Outputs
from transforms.kafka.native.producer import NotCommittedError, ObstructedError, OutcomeUnknownError
from transforms.kafka.native.transactional import TransactionalWriter
from transforms.kafka.stop import draining
from transforms.kafka.vendor import describe
from transforms.types import KafkaRecord, OutputRecord

NAME = "kafka-model-scoring-replay"
"""The first part of the ``transactional.id``. It has no group in it: a replay is fenced by any other of the same topic."""

AGAIN_S = 0.5
"""Seconds between two attempts to commit the same outputs."""


def replay_config(bootstrap_servers: str, dead_letter_topic: str, properties: tuple[tuple[str, str], ...]) -> KafkaConfig:
    """Returns the Kafka configuration of a replay; its ``transactional.id`` is ``kafka-model-scoring-replay-TOPIC``."""
    return KafkaConfig(
        bootstrap_servers,
        (dead_letter_topic,),
        NAME,
        dead_letter_topic,
        assignment=ASSIGN_STATIC,  # nothing joins a group
        properties=properties,
        dead_letter_topic=dead_letter_topic,
    )


class ReplayWriter(TransactionalWriter):
    """Writes without a consumer group: what was done is in the ledger's entries, not in offsets.

    Args:
        config: The connection.
        to_source: Whether records go back where they came from: to the partition that they were in, where it is still there.
        open_producer: Makes the producer.
        clock: Seconds, monotonic.
        open_admin: Makes the admin client, for what keeps the topics from being written to.

    Attributes:
        ledger_is_old: Whether the ledger must be read before anything is written: this producer has fenced the one before,
            which may have been another replay's, and written entries.
    """

    def __init__(
        self,
        config: KafkaConfig,
        to_source: bool,
        open_producer: Callable[..., Any] = ck.Producer,
        clock: Callable[[], float] = time.monotonic,
        open_admin: Callable[[KafkaConfig], Any] = open_admin,
    ):
        self._to_source, self.ledger_is_old = to_source, True
        super().__init__(config, open_producer, clock, open_admin)

    def _missing_right(self) -> str:
        return on_transactional_id(self.config)

    def _initialize(self) -> None:
        super()._initialize()
        self.ledger_is_old = True

    def write(self, records: Sequence[OutputRecord]) -> None:
        """As ``Writer.write``; nothing is written before the ledger is read."""
        if self.ledger_is_old:
            raise NotCommittedError("the producer is a new one, and the ledger is to be read first")
        super().write(records)

    def commit(self, offsets: list[ck.TopicPartition], reader: Reader | None, group: Any) -> None:
        """As ``Writer.commit``, of the outputs alone."""
        self._commit(lambda: None)

    def _partition_of(self, topic: str, key: bytes | None, source_partition: int) -> int:
        # Not by the key: the record's producer may place keys otherwise than ours.
        if self._to_source and source_partition < self._partitions(topic):
            return source_partition
        return super()._partition_of(topic, key, source_partition)


@dataclasses.dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """What became of outputs.

    Attributes:
        done: How many of the dead letters were replayed.
        refused: Why a topic did not take a record, to the number of such records.
        dead: Dead-letter class to the number of outputs that are dead letters again (``--score``).
    """

    done: int
    refused: Counter[str]
    dead: Counter[str]


class ReplayTransactions:
    """Commits outputs of a replay.

    Args:
        writer: The producer, opened before the ledger was read.
        mender: Mends predictions that Kafka refuses (``--score``); ``None``: what it refuses is left out.
        ledger: What was replayed.
        ledger_topic: Its topic.
        read_ledger: Gives the entries that are there.
        sleep: Waits so many seconds.
        now: Seconds since the epoch.
        read_limits: Gives the limits of topics.
    """

    def __init__(
        self,
        writer: ReplayWriter,
        mender: Mender | None,
        ledger: Ledger,
        ledger_topic: str,
        read_ledger: Callable[[], Iterable[KafkaRecord]],
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
        read_limits: ReadLimits | None = None,
    ):
        self._writer, self._ledger, self._topic = writer, ledger, ledger_topic
        self._read_ledger, self._sleep, self._now = read_ledger, sleep, now
        self._outputs = Outputs(writer, mender or _Leaver(writer.config, self._left, read_limits))
        self._order: list[Place] = []
        self._refused: Counter[str] = Counter()

    def refresh(self) -> None:
        """Reads the ledger, if another replay may have written to it."""
        if self._writer.ledger_is_old:
            self._ledger.read(self._read_ledger())
            self._writer.ledger_is_old = False

    def commit(self, outputs: Mapping[Place, OutputRecord]) -> ReplayOutcome:
        """Writes and commits outputs, one for each dead letter, and the entries that say so.

        Raises:
            FencedError: Another replay of the same topic has begun.
            KafkaError: Trying again would not help, or Kafka was away for the whole of a drain.
        """
        bundle = Bundle()
        wanted = {place: output for place, output in outputs.items() if place not in self._ledger}
        self._refused, self._order = Counter(), list(wanted)
        self._outputs.add(bundle, list(wanted.values()))
        self._set_outputs(bundle, bundle.outputs)
        while True:
            if self._writer.ledger_is_old:
                self.refresh()
                self._drop_replayed(bundle)
            if not self._order or self._is_committed(bundle):
                break
            if draining():
                raise KafkaError("the transaction could not be committed before the end; nothing of it was written")
            self._sleep(AGAIN_S)
            bundle.buffered = list(bundle.outputs)
        self._ledger.add(self._order)
        self._outputs.committed()
        written = bundle.outputs[: len(self._order)]
        dead = Counter(_class_of(output) for output in written if output.failed_stage is not None)
        return ReplayOutcome(len(wanted) - self._refused.total(), self._refused, dead)

    def _is_committed(self, bundle: Bundle) -> bool:
        try:
            self._outputs.commit(bundle, [], None)  # type: ignore[arg-type]  # without offsets no reader is needed
            return True
        except NotCommittedError as error:
            if isinstance(error, ObstructedError) and error.outcome_unknown:
                self._writer.renew()  # librdkafka refuses to abort while a commit is under way
            else:
                with contextlib.suppress(OutcomeUnknownError):  # the ledger, which is read first, will tell
                    self._writer.abort()
        self._writer.take_deliveries()
        return False

    def _drop_replayed(self, bundle: Bundle) -> None:
        """Of a commit that was lost on its way all is in the ledger, or nothing; of another replay's, anything."""
        pairs = list(zip(self._order, bundle.outputs, strict=False))  # the entries are behind the outputs
        self._order = [place for place, _ in pairs if place not in self._ledger]
        self._set_outputs(bundle, [output for place, output in pairs if place not in self._ledger])

    def _left(self, outputs: Sequence[OutputRecord], refused: Mapping[int, str]) -> list[OutputRecord]:
        """Leaves out refused outputs, by their identity; returns what to write."""
        pairs = list(zip(self._order, outputs, strict=False))
        self._refused.update(refused[id(output)] for _, output in pairs if id(output) in refused)
        if len(refused) > len(pairs) or not refused.keys() <= {id(output) for _, output in pairs}:
            raise KafkaError(f"{self._topic}: the ledger of replayed dead letters does not take an entry")
        self._order = [place for place, output in pairs if id(output) not in refused]
        return [*(output for _, output in pairs if id(output) not in refused), *self._entries()]

    def _set_outputs(self, bundle: Bundle, outputs: list[OutputRecord]) -> None:
        bundle.outputs = [*outputs, *self._entries()]
        bundle.buffered = list(bundle.outputs)

    def _entries(self) -> list[OutputRecord]:
        now_ms = round(self._now() * 1000)
        return [
            OutputRecord(self._topic, key, value, [], now_ms, (self._topic, 0, 0), None)
            for key, value in self._ledger.entries(self._order)
        ]

    def close(self) -> None:
        """Closes the mender's connections, and the producer."""
        self._outputs.close()
        self._writer.close()


class _Leaver(Mender):
    """Leaves out what Kafka refuses, in place of mending it: what is written back must be the original.

    Args:
        config: The connection.
        left: Makes the outputs of a transaction without those of these identities, each with Kafka's answer.
        read_limits: Gives the limits of topics.
    """

    def __init__(
        self,
        config: KafkaConfig,
        left: Callable[[Sequence[OutputRecord], Mapping[int, str]], list[OutputRecord]],
        read_limits: ReadLimits | None,
    ):
        super().__init__(config, read_limits)
        self._left = left

    def mend(self, outputs: Sequence[OutputRecord], refused: Sequence[Refusal], batch_bytes: int) -> Mended:
        """As ``Mender.mend``."""
        guilty, smaller = self._guilty(refused, batch_bytes, self._fresh_limits(refused))
        topics = {id(output): output.topic for output in outputs}
        said = {at: f"{topics[at]} does not take it: {describe(error)}" for at, error in guilty.items()}
        return Mended(self._left(outputs, said) if said else list(outputs), Counter(), smaller)


def _class_of(output: OutputRecord) -> str:
    return (dict(output.headers)[ERROR_CLASS] or b"").decode()
