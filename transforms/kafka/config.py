"""What the source and the sink of one job share: one frozen value, safe to pickle into DoFns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from transforms.secret_manager import resolve_all

Value = str | int | float | bool
Properties = Mapping[str, Value]
Partition = tuple[str, int]
"""A topic and a partition's number."""

EXACTLY_ONCE = "exactly_once"
AT_LEAST_ONCE = "at_least_once"

ASSIGN_GROUP = "group"
ASSIGN_STATIC = "static"


@dataclasses.dataclass(frozen=True, slots=True)
class KafkaConfig:
    """How to reach Kafka, as whom, and with which guarantee.

    Attributes:
        bootstrap_servers: ``host:port[,host:port]``.
        topics: The topics to read.
        group_id: The consumer group; its committed offsets are the checkpoint.
        instance_id: Names this replica. With the group it makes the ``transactional.id``, so it has to be stable for a
            replica and different between replicas.
        delivery: ``exactly_once`` or ``at_least_once``.
        assignment: ``group`` (the consumer-group protocol shares the partitions) or ``static`` (this shard reads a fixed
            share).
        properties: Any further librdkafka properties, for consumer and producer alike; they win over ours except where
            ``PROTECTED``.
        max_bundle_records: How many records one bundle reads at most.
        max_bundle_s: How long one bundle goes on reading at most, in seconds.
        chunk_records: How many records travel in one Beam element at most.
        batch_max_size: A request's rows at most; while a batch is about to fill, a poll waits for it.
        batch_max_wait_ms: How long a poll waits for that, in milliseconds, at most.
        one_outcome_each: Whether every record read must bring exactly one record written; a bundle that breaks this stops
            the job instead of committing.
    """

    bootstrap_servers: str
    topics: tuple[str, ...]
    group_id: str
    instance_id: str = "0"
    delivery: str = EXACTLY_ONCE
    assignment: str = ASSIGN_GROUP
    properties: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    max_bundle_records: int = 32768
    max_bundle_s: float = 0.5
    chunk_records: int = 256
    batch_max_size: int = 64
    batch_max_wait_ms: float = 20.0
    one_outcome_each: bool = False

    def client_properties(self) -> dict[str, Value]:
        """Properties of every client: the address and what the user gave, secrets in the place of references to them.

        Raises:
            SecretError: A secret can't be read.
        """
        return {**dict(resolve_all(self.properties)), "bootstrap.servers": self.bootstrap_servers}

    def consumer_properties(self) -> dict[str, Value]:
        """Properties of the consumer."""
        defaults: dict[str, Value] = {
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,  # an idle fetch; a broker answers at once when there is a record
            "fetch.error.backoff.ms": 50,
            "fetch.queue.backoff.ms": 5,  # the default of 1 s starves a fast reader of small records
            "queued.min.messages": 50_000,
            "queued.max.messages.kbytes": 131_072,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 1_000,
            "max.poll.interval.ms": 300_000,
            "topic.metadata.refresh.interval.ms": 10_000,  # how soon added partitions are noticed
            "reconnect.backoff.max.ms": 1_000,
        }
        if self.assignment == ASSIGN_GROUP:
            defaults["partition.assignment.strategy"] = "cooperative-sticky"
        return {
            **defaults,
            **_without(self.client_properties(), PRODUCER_ONLY),
            # What the guarantees rest on is not for change.
            "group.id": self.group_id,
            # By this a replica that was thought dead finds its successor: producer.py.
            "client.id": "/".join(filter(None, (dict(self.properties).get("client.id"), self.transactional_id))),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # never a silent skip: see consumer.py
            "enable.partition.eof": True,  # how positions move over transaction markers
        }

    def producer_properties(self) -> dict[str, Value]:
        """Properties of the producer."""
        defaults: dict[str, Value] = {
            # Every bundle ends with a flush, which waits for no linger: this only keeps the requests few while it is read.
            # At 90,000 records/s (a profile, 2 cores): 340 produce requests instead of 3,000, a third of the broker's time.
            "linger.ms": 25,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",  # Java's: keyed outputs land where a Java application's would
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 262_144,
            "batch.num.messages": 10_000,
            "reconnect.backoff.max.ms": 1_000,
            # A transaction begun right after another is told to come again while the other's markers are being written,
            # which takes 2 to 5 ms; the default of 100 ms for the first retry would be a transaction in ten.
            "retry.backoff.ms": 2,
            "message.max.bytes": 100_000_000,  # the broker's limit counts, not librdkafka's default of 1 MB
        }
        if self.delivery == EXACTLY_ONCE:
            # A transaction is open only from a bundle's first output to its commit. Short, because the partitions of a
            # process that dies meanwhile can't be read on by others, nor its outputs passed, until this has run out.
            defaults["transaction.timeout.ms"] = 10_000
        given = {
            **defaults,
            **_without(self.client_properties(), CONSUMER_ONLY),
            "enable.idempotence": True,
            "delivery.report.only.error": True,
        }
        if self.delivery == EXACTLY_ONCE:
            given["transactional.id"] = self.transactional_id
        return given

    def of_shard(self, shard: int) -> KafkaConfig:
        """The same for one shard of an engine that places them: with a name, and so a transactional producer, of its own."""
        return dataclasses.replace(self, instance_id=f"{self.instance_id}-{shard}")

    @property
    def transactional_id(self) -> str:
        """The producer's name: a restarted replica takes it over and so fences its former self at once."""
        return f"{self.group_id}-{self.instance_id}"


@dataclasses.dataclass(frozen=True, slots=True)
class JavaKafka:
    """What the Java transforms need besides ``KafkaConfig``.

    Attributes:
        expansion_service: ``host:port``.
        commit_offsets: Whether the source commits the group's offsets when a bundle is final. Dataflow can; Prism and
            FnApiRunner refuse it (``requires_stable_input``).
        partitions: Output topics, each with its number of partitions, for records with a null key.
        workers_are_here: Whether Python's workers are threads of the launching process, which then ends the job in order.
    """

    expansion_service: str
    commit_offsets: bool = False
    partitions: tuple[tuple[str, int], ...] = ()
    workers_are_here: bool = False


CONSUMER_ONLY = (
    "fetch.", "queued.", "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms", "group.", "isolation.level",
    "partition.assignment.strategy", "auto.", "enable.auto.", "enable.partition.eof", "max.partition.fetch.bytes",
    "check.crcs", "consume.",
)  # fmt: skip
PRODUCER_ONLY = (
    "linger.ms", "compression.", "partitioner", "queue.buffering.", "batch.", "transaction", "enable.idempotence", "acks",
    "request.required.acks", "request.timeout.ms", "message.timeout.ms", "delivery.", "message.send.max.retries", "retries",
    "sticky.", "enable.gapless.guarantee", "queuing.strategy",
)  # fmt: skip
PROTECTED = (
    "bootstrap.servers", "metadata.broker.list", "group.id", "enable.auto.commit", "auto.offset.reset", "enable.idempotence",
    "transactional.id", "enable.auto.offset.store", "enable.partition.eof", "delivery.report.only.error", "group.protocol",
    "group.instance.id",
)  # fmt: skip
"""Properties that are refused in ``--kafka_config``: a flag sets them, or the guarantees rest on them."""


def _without(properties: Mapping[str, str | int | float | bool], prefixes: tuple[str, ...]) -> dict[str, Value]:
    return {name: value for name, value in properties.items() if not name.startswith(prefixes)}


COMMON = ("bootstrap.servers", "broker.address.family", "security.", "sasl.", "ssl.", "enable.ssl", "socket.", "https.")


def is_common(name: str) -> bool:
    """Whether a property is for clients of any kind, the admin client among them."""
    return name.startswith(COMMON)
