"""``KafkaConfig``: the Kafka options that a job's source and sink share. Frozen, and safe to pickle into DoFns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from transforms.kafka.msk import OAUTH_CALLBACK, by_iam, logged_in
from transforms.kafka.protected import MOCK, PROTECTED
from transforms.memory import Memory
from transforms.secret_manager import resolve_all

Value = str | int | float | bool
Properties = Mapping[str, Value]
Partition = tuple[str, int]
"""A partition: its topic and its number."""

EXACTLY_ONCE = "exactly_once"
AT_LEAST_ONCE = "at_least_once"

DEFAULT_BATCH_BYTES = 1_000_000
"""librdkafka's default of ``batch.size``."""

LARGEST_OUTPUT_BYTES = 100_000_000
"""The largest output that librdkafka takes. For smaller ones the broker's limit counts."""

LEAST_FETCH_BYTES = 1_000_000
"""librdkafka's default of ``message.max.bytes``. It refuses a ``fetch.max.bytes`` that is lower."""

ASSIGN_GROUP = "group"
ASSIGN_STATIC = "static"

MESSAGE_MAX_BYTES = "message.max.bytes"

GROUP_PROTOCOL = "group.protocol"
CONSUMER_PROTOCOL = "consumer"
"""The value of ``group.protocol`` for Kafka's newer protocol of consumer groups (KIP-848), in which the broker assigns."""

CLASSIC_SESSION_S = 10.0
"""Our default of ``session.timeout.ms``, in seconds. After it the partitions of a killed member go to others."""

BROKER_SESSION_S = 45.0
"""Kafka's default of ``group.consumer.session.timeout.ms``, in seconds: with that protocol the broker sets it."""


@dataclasses.dataclass(frozen=True, slots=True)
class KafkaConfig:
    """The connection to Kafka, the consumer group, and the delivery guarantee.

    Attributes:
        bootstrap_servers: ``host:port[,host:port]``.
        topics: The topics to read.
        group_id: The consumer group; its committed offsets are the checkpoint.
        instance_id: Names this replica. Group and instance id make the ``transactional.id``, so it must stay the same for a
            replica, and differ between replicas.
        delivery: ``exactly_once`` or ``at_least_once``.
        assignment: ``group`` (the consumer-group protocol assigns the partitions) or ``static`` (each shard reads fixed
            partitions).
        properties: Further librdkafka properties, for consumer and producer. They override ours, except those in
            ``PROTECTED``. ``group.protocol=consumer`` chooses Kafka's newer protocol of consumer groups, KIP-848.
        max_bundle_records: Most records that one bundle reads.
        max_bundle_s: Most seconds that one bundle reads.
        chunk_records: Most records of a chunk.
        batch_max_size: Most rows of a request. A poll waits until it has enough records for a full batch.
        batch_max_wait_ms: Most milliseconds that a poll waits for a full batch.
        one_outcome_each: Whether every record read must give exactly one record written. A bundle that violates this ends
            the job instead of being committed.
        dead_letter_topic: Where an output goes that Kafka refuses. ``None``: such an output ends the job.
        max_batch_bytes: Most bytes of a batch of several outputs, because a topic takes no larger one; ``None`` for
            librdkafka's default.
        started_from: The values of ``--start_from`` that the group has had; every commit keeps them.
        memory: What the records in the process may take. On Flink and Dataflow each shard has that much.
        shards_move: Whether the runner moves shards between workers while the job runs (Dataflow). Then a session that is
            fenced ends its bundle and not the job: another worker has the shard, or had it for a moment.
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
    dead_letter_topic: str | None = None
    max_batch_bytes: int | None = None
    started_from: tuple[str, ...] = ()
    memory: Memory = dataclasses.field(default_factory=Memory)
    shards_move: bool = False

    def client_properties(self) -> dict[str, Value]:
        """Returns the properties of every client: the address and the user's properties, with all secrets resolved.

        With ``sasl.mechanism=AWS_MSK_IAM`` a function is among them, which makes the tokens.

        Raises:
            ConfigError: What ``AWS_MSK_IAM`` needs is missing.
            SecretError: A secret can't be read, or there are no AWS credentials.
        """
        ours = {name for name, _ in self.properties if name in PROTECTED or name.startswith(MOCK)}
        given = {name: value for name, value in resolve_all(self.properties) if name not in ours}
        return {**logged_in(given, self.bootstrap_servers), "bootstrap.servers": self.bootstrap_servers}

    def _given(self, name: str) -> str:
        """One of the user's properties as clients get it: the only way to look at one before; ``""`` without it."""
        return str(dict(resolve_all(tuple(it for it in self.properties if it[0] == name))).get(name, ""))

    @property
    def by_iam(self) -> bool:
        """Whether clients log in to Amazon MSK by an IAM identity."""
        return by_iam(dict(self.properties))

    @property
    def broker_assigns(self) -> bool:
        """Whether the group uses KIP-848's protocol."""
        return self.assignment == ASSIGN_GROUP and self._given(GROUP_PROTOCOL).strip().lower() == CONSUMER_PROTOCOL

    @property
    def session_timeout_s(self) -> float:
        """After how many seconds Kafka takes a silent member of the group for dead."""
        given = self.consumer_properties().get("session.timeout.ms")
        return BROKER_SESSION_S if given is None else float(given) / 1000

    def consumer_properties(self) -> dict[str, Value]:
        """Properties of the consumer."""
        defaults: dict[str, Value] = {
            "fetch.wait.max.ms": 50,  # how long an idle fetch waits; a broker answers at once when it has a record
            "fetch.error.backoff.ms": 50,
            "fetch.queue.backoff.ms": 5,  # the default of 1 s starves a fast reader of small records
            "queued.min.messages": 50_000,
            # Of all partitions together: they share one queue. A fetch begins while the queue is not full, so its answer
            # may exceed the queue; it stays in memory until its last record is read.
            "queued.max.messages.kbytes": max(1, self.memory.queue // 1024),
            "max.poll.interval.ms": 300_000,
            "topic.metadata.refresh.interval.ms": 10_000,  # how often to look for new partitions
            "reconnect.backoff.max.ms": 1_000,
        }
        given = _without(self.client_properties(), PRODUCER_ONLY)
        fetch_max_bytes = max(_message_max_bytes(given, LEAST_FETCH_BYTES), self.memory.fetch)
        received = str(given.get("receive.message.max.bytes", "")).strip()
        if received.isdecimal():  # librdkafka requires this margin; it raises its own default
            fetch_max_bytes = min(fetch_max_bytes, int(received) - 512)
        defaults["fetch.max.bytes"] = fetch_max_bytes
        if not self.broker_assigns:  # there the broker has these times, and librdkafka refuses them
            defaults |= {"session.timeout.ms": int(CLASSIC_SESSION_S * 1000), "heartbeat.interval.ms": 1_000}
            given.pop(GROUP_PROTOCOL, None)
            if self.assignment == ASSIGN_GROUP:
                given["partition.assignment.strategy"] = "cooperative-sticky"
        return {
            **defaults,
            **given,
            # The guarantees need the following; users can't change them: protected.py.
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "group.id": self.group_id,
            # A replica that was taken for dead finds the replica that replaced it by this id: producer.py.
            "client.id": "/".join(filter(None, (self._given("client.id"), self.transactional_id))),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # never skip records silently: see consumer.py
            "enable.partition.eof": True,  # moves positions past transaction markers
        }

    def producer_properties(self) -> dict[str, Value]:
        """Properties of the producer."""
        ours = self.client_properties()
        defaults: dict[str, Value] = {
            # Every bundle ends with a flush, which ignores linger. While the bundle is read, linger keeps the number of
            # produce requests low: at 90,000 records/s 340 instead of 3,000, a third of the broker's time (profiled).
            "linger.ms": 25,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",  # Java's default: keys go to the same partitions as from a Java producer
            "queue.buffering.max.messages": 1_000_000,
            # A last resort: the queue has the outputs of one bundle, which bounds them. It is as large as the largest
            # output, which would never get into a smaller queue.
            "queue.buffering.max.kbytes": self._producer_queue_kbytes(ours),
            "batch.num.messages": 10_000,
            "reconnect.backoff.max.ms": 1_000,
            # A transaction that begins right after another is refused until the other's markers are written, which takes 2
            # to 5 ms. The default of 100 ms for the first retry would cut the number of transactions to a tenth.
            "retry.backoff.ms": 2,
            "message.max.bytes": LARGEST_OUTPUT_BYTES,  # the broker's limit counts, not librdkafka's default of 1 MB
        }
        if self.max_batch_bytes is not None:
            defaults["batch.size"] = min(self.max_batch_bytes, DEFAULT_BATCH_BYTES)
        if self.delivery == EXACTLY_ONCE:
            # A transaction is open from a bundle's first output to its commit. If the process dies in between, others can't
            # read on its partitions, nor consumers read past its outputs, before this time-out. So it is short.
            defaults["transaction.timeout.ms"] = 10_000
        given = {
            **defaults,
            **_without(ours, CONSUMER_ONLY),
            "enable.idempotence": True,
            "delivery.report.only.error": True,
        }
        if self.delivery == EXACTLY_ONCE:
            given["transactional.id"] = self.transactional_id
        return given

    def _producer_queue_kbytes(self, given: Mapping[str, Value]) -> int:
        return max(_message_max_bytes(given, LARGEST_OUTPUT_BYTES), self.memory.bundle) // 1024 + 1

    def beyond_memory(self) -> Iterator[tuple[str, int, int]]:
        """Yields the user's properties that let librdkafka take more memory than its shares.

        Yields:
            The property, its value, and the highest value within ``memory``.
        """
        memory, given = self.memory, {MESSAGE_MAX_BYTES: self._given(MESSAGE_MAX_BYTES)}
        shares = {
            "queued.max.messages.kbytes": memory.queue // 1024,
            "fetch.max.bytes": max(_message_max_bytes(given, LEAST_FETCH_BYTES), memory.fetch),
            "queue.buffering.max.kbytes": self._producer_queue_kbytes(given),
        }
        for name, value in self.properties:
            text = str(value).strip()  # librdkafka judges what is no number, such as a secret
            if name in shares and text.isdecimal() and int(text) > shares[name]:
                yield name, int(text), shares[name]

    def of_shard(self, shard: int) -> KafkaConfig:
        """Returns the configuration of one shard: its instance id, and so its transactional producer, is its own."""
        return dataclasses.replace(self, instance_id=f"{self.instance_id}-{shard}")

    @property
    def transactional_id(self) -> str:
        """The ``transactional.id``. A restarted replica uses the same id, and so fences its former process at once."""
        return f"{self.group_id}-{self.instance_id}"


@dataclasses.dataclass(frozen=True, slots=True)
class JavaKafka:
    """Options of the Java transforms in addition to ``KafkaConfig``.

    Attributes:
        expansion_service: ``host:port``.
        commit_offsets: Whether the source commits the group's offsets when a bundle is finalized. Dataflow supports this;
            Prism and FnApiRunner refuse it (``requires_stable_input``).
        partitions: The output topics with their numbers of partitions, to place records with a null key.
        workers_are_here: Whether the Python workers are threads of the launching process, which then drains the job.
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


def _message_max_bytes(given: Mapping[str, Value], least: int) -> int:
    """Returns the user's ``message.max.bytes`` if it is more than ``least``. It counts for reading and writing."""
    text = str(given.get(MESSAGE_MAX_BYTES, "")).strip()
    return max(least, int(text)) if text.isdecimal() else least  # what is no number is for librdkafka to refuse


def _without(properties: Mapping[str, str | int | float | bool], prefixes: tuple[str, ...]) -> dict[str, Value]:
    return {name: value for name, value in properties.items() if not name.startswith(prefixes)}


COMMON = (
    "bootstrap.servers", "broker.address.family", "client.dns.lookup", "security.", "sasl.", "ssl.", "enable.ssl",
    "enable.sasl", "socket.", "https.", OAUTH_CALLBACK,
)  # fmt: skip


def is_common(name: str) -> bool:
    """Whether a property is for clients of all kinds, including the admin client."""
    return name.startswith(COMMON)
