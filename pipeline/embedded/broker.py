"""A Kafka broker in this process, for demos and tests: librdkafka's mock cluster.

It speaks the Kafka protocol on a TCP port of 127.0.0.1, to any client. Topics, headers, timestamps, consumer groups,
committed offsets and transactions work. It differs from Kafka:

* Offsets that a transaction commits are not kept: a group that comes back begins where it began before.
* Everything is in memory, and lost when the broker closes.
* A partition keeps its newest 5 MiB and 100,000 records; older ones are dropped (rdkafka_mock.c).
* CreateTopics is not implemented. An unknown topic is created, with four partitions, when a producer asks for it, or a
  consumer with ``allow.auto.create.topics``. ``create_topic`` creates one with any number of partitions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Self

from pipeline.embedded.forwarder import Forwarder
from pipeline.embedded.mock_library import PRODUCER, library
from transforms.errors import KafkaError
from transforms.printable import counted

_REBALANCE_DELAY_MS = 50
"""How long the first rebalance of a group waits for more members. librdkafka's default of 3,000 would be most of the demo's
time."""


def with_dead_letter_topics(topics: Mapping[str, int]) -> dict[str, int]:
    """Adds each topic's default dead-letter topic, which a job can't make on this broker: CreateTopics is missing."""
    return {**{f"{name}.dead-letter": partitions for name, partitions in topics.items()}, **topics}


class EmbeddedBroker:
    """One mock broker.

    Usage::

        with EmbeddedBroker({"digits": 4}) as broker:
            producer = confluent_kafka.Producer({"bootstrap.servers": broker.address})

    Args:
        topics: Topic name to number of partitions.
        port: A fixed port for bootstrap. The mock cluster chooses its own port, so a forwarder listens on the fixed one;
            clients learn the broker's own address through it, as from any bootstrap server. 0: no forwarder.
    """

    def __init__(self, topics: Mapping[str, int] | None = None, port: int = 0):
        self._topics = dict(topics or {})
        self._port = port
        self._client: Any = None
        self._cluster: Any = None
        self._forwarder: Forwarder | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """``HOST:PORT`` for ``bootstrap.servers``; empty before ``start``."""
        return self._address

    def start(self) -> str:
        """Starts the broker, creates the topics and returns the address; takes a few milliseconds.

        Raises:
            KafkaError: librdkafka refuses, or the fixed port is in use.
            ImportError: No librdkafka is found.
        """
        lib = library()
        conf = lib.rd_kafka_conf_new()
        lib.rd_kafka_conf_set_log_cb(conf, None)
        reason = ctypes.create_string_buffer(256)
        self._client = lib.rd_kafka_new(PRODUCER, conf, reason, len(reason))
        if not self._client:
            raise KafkaError(f"the embedded broker can't start: {reason.value.decode('utf-8', 'replace')}")
        self._cluster = lib.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            self.close()
            raise KafkaError("the embedded broker can't start: librdkafka made no mock cluster")
        try:
            lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, _REBALANCE_DELAY_MS)
            self._address = lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
            for topic, partitions in self._topics.items():
                self.create_topic(topic, partitions)
            if self._port:
                self._forwarder = Forwarder(self._port, self._address)
                self._address = self._forwarder.start()
        except BaseException:
            self.close()
            raise
        return self._address

    def create_topic(self, topic: str, partitions: int) -> None:
        """Creates a topic.

        Raises:
            KafkaError: The topic exists already, or librdkafka refuses the number of partitions.
        """
        code = library().rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)
        if code:
            reason = library().rd_kafka_err2str(code).decode()
            raise KafkaError(
                f"the embedded broker can't make topic {topic} with {counted(partitions, 'partition')}: {reason}"
            )

    def close(self) -> None:
        """Stops the broker; its records are gone. May be called twice."""
        if self._forwarder is not None:
            self._forwarder.close()
            self._forwarder = None
        if self._cluster:
            library().rd_kafka_mock_cluster_destroy(self._cluster)
            self._cluster = None
        if self._client:
            library().rd_kafka_destroy(self._client)
            self._client = None
        self._address = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
