"""Three nodes of the real Apache Kafka on 127.0.0.1, each broker and controller, of which one may be killed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections.abc import Callable
from typing import Self

from confluent_kafka.admin import AdminClient

from tests.kafka_broker import TO_BE_KILLED, KafkaBroker, Node, free_ports, install, new_cluster_id

NODES = 3
REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "replica.lag.time.max.ms": "5000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
}
STATE_PARTITIONS = 4
"""``offsets.topic.num.partitions`` and ``transaction.state.log.num.partitions`` of ``kafka_broker.PROPERTIES``."""


class KafkaCluster:
    """A cluster that runs from construction to ``close``. Everything is replicated three times; two in sync are enough.

    Attributes:
        bootstrap: The addresses of all nodes.
    """

    def __init__(self) -> None:
        install()
        controllers, cluster_id = tuple(free_ports(NODES)), new_cluster_id()
        properties = {**REPLICATED, **TO_BE_KILLED}
        with concurrent.futures.ThreadPoolExecutor() as pool:  # a node answers only once there are two
            nodes = [
                pool.submit(KafkaBroker, properties=properties, node=Node(number, controllers, cluster_id))
                for number in range(1, NODES + 1)
            ]
        self._nodes: dict[int, KafkaBroker] = {}
        with contextlib.ExitStack() as started:
            for number, node in enumerate(nodes, 1):
                self._nodes[number] = started.enter_context(node.result())
            self.bootstrap = ",".join(node.bootstrap for node in self._nodes.values())
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            self._wait_until(lambda: len(self._admin.list_topics(timeout=10).brokers) == NODES, "all nodes")
            self._started = started.pop_all()

    def leader(self, topic: str, partition: int = 0) -> int:
        """The node that leads a partition."""
        found = self._admin.list_topics(topic, timeout=30).topics[topic].partitions
        return int(found[partition].leader)

    def group_coordinator(self, group: str) -> int:
        """The node that coordinates a consumer group."""
        return self.leader("__consumer_offsets", java_hash(group) % STATE_PARTITIONS)

    def transaction_coordinator(self, transactional_id: str) -> int:
        """The node that coordinates a producer's transactions."""
        return self.leader("__transaction_state", java_hash(transactional_id) % STATE_PARTITIONS)

    def kill(self, number: int) -> None:
        """Ends a node as a power cut would."""
        self._nodes[number].kill()

    def start(self, number: int) -> None:
        """Starts a killed node, and waits until it is in sync with the others."""
        self._nodes[number].start()
        self._wait_until(self._in_sync, "replicas in sync")

    def _in_sync(self) -> bool:
        topics = self._admin.list_topics(timeout=10).topics.values()
        return all(len(it.isrs) == len(it.replicas) == NODES for topic in topics for it in topic.partitions.values())

    def _wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 180) -> None:
        stop_at = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > stop_at:
                raise TimeoutError(f"no {what} within {timeout_s:.0f} s")
            time.sleep(0.2)

    def close(self) -> None:
        """Ends all nodes and removes their data."""
        self._started.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def java_hash(text: str) -> int:
    """``Utils.abs(text.hashCode())`` of Java, by which Kafka finds the partition of a group or a transactional id."""
    value = 0
    for character in text:  # ids are ASCII: a character is a UTF-16 unit
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
