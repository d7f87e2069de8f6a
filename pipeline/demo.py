"""The embedded parts of a run: broker, model server, generator, and a watcher that reads the predictions.

They belong together: own Kafka, topics or model are never mixed with them (``cli/rules/demo.py``).
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from typing import Any, Self

import confluent_kafka as ck
import orjson

from pipeline.cli.config import Config
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.digits import MODEL_DIR, MODEL_NAME
from pipeline.embedded.generator import Published, publish_digits
from pipeline.embedded.generator import records as generated_records
from pipeline.embedded.model_server import EmbeddedModelServer
from pipeline.reporting.status import Status
from transforms.kafka.stop import StopConditions

PARTITIONS = 4
RATE = 400.0
"""Records a second that the generator publishes: slow enough to watch, quick enough to end soon."""

SHOWN = 8

GENERATOR_S = 5.0
"""How long the end waits for the generator."""


class Demo:
    """Starts the parts. A context manager.

    Attributes:
        resolved: The config with the addresses of the started parts.
        watcher: Reads the predictions.
        records: How many records the generator publishes in one round.
        endless: Whether it publishes round after round: somebody looks at the page.
    """

    def __init__(self, config: Config, status: Status):
        self._config, self._status = config, status
        self._broker: EmbeddedBroker | None = None
        self._server: EmbeddedModelServer | None = None
        self._generator: threading.Thread | None = None
        self._closing = threading.Event()
        self.published: Published | None = None
        self.records = 0
        self.endless = config.status_port is not None and config.endless

    def __enter__(self) -> Self:
        config = self._config
        self._status.say("starting the embedded model server (a second or two) …")
        self._server = EmbeddedModelServer({MODEL_NAME: MODEL_DIR}).start()
        try:
            topics = dict.fromkeys((*config.input_topics, config.output_topic, config.dead_letter_topic), PARTITIONS)
            self._broker = EmbeddedBroker(topics)
            address = self._broker.start()
            self.records = sum(1 for _ in generated_records())
            grpc_port, _ = self._server.wait_ready()
            model = f"grpc://127.0.0.1:{grpc_port}/{MODEL_NAME}"
            config = dataclasses.replace(config, bootstrap_servers=address, model=model)
        except BaseException:
            self.__exit__()
            raise
        self.resolved = config
        self.watcher = Watcher(config)
        return self

    def stop(self, asked: StopConditions) -> StopConditions:
        """Returns the conditions at which the demo's job ends: all records are answered, or a flag ends it earlier.

        The generator publishes while the job runs. So the ends that the topics had at the start, ``--until_end``'s, are
        those of empty topics.

        Args:
            asked: What the flags ask for.
        """
        if self.endless or not (self._config.until_end or self._config.endless):
            return asked
        most = self.records if asked.max_records is None else min(asked.max_records, self.records)
        return StopConditions(max_records=most, drain_at_s=asked.drain_at_s)

    def start(self) -> None:
        """Starts publishing and watching."""
        self.watcher.start()
        self._generator = threading.Thread(target=self._publish, name="generator", daemon=True)
        self._generator.start()

    def _publish(self) -> None:
        while True:
            self.published = publish_digits(
                self.resolved.bootstrap_servers, self.resolved.input_topics[0], RATE, stop=self._closing
            )
            if not self.endless or self._closing.is_set():
                return

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        if self._generator is not None:
            self._generator.join(GENERATOR_S)
        if self._server is not None:
            self._server.close()
        if hasattr(self, "watcher"):
            self.watcher.close()
        if self._broker is not None:
            self._broker.close()


class Watcher:
    """Reads predictions from the output topic, as an application would, and compares them with the true labels."""

    def __init__(self, config: Config):
        self._config = config
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._latest: collections.deque[tuple[str, str, str]] = collections.deque(maxlen=SHOWN)
        self._right: collections.Counter[str] = collections.Counter()
        self._compared: collections.Counter[str] = collections.Counter()
        self._seen_at = time.monotonic()

    def start(self) -> None:
        """Starts to read the topic, which is new."""
        self._thread.start()

    @property
    def latest(self) -> list[tuple[str, str, str]]:
        """Key, label and verdict of the latest predictions, the newest last."""
        return list(self._latest)

    def accuracy(self) -> dict[str, tuple[int, int]]:
        """Number of right predictions and of comparisons, for ``all`` and for ``held-out`` (not used in training)."""
        everything = {"all": (self._right.total(), self._compared.total())} if self._compared else {}
        held_out = {name: (self._right[name], count) for name, count in self._compared.items() if name == "held-out"}
        return everything | held_out

    def finish(self, quiet_s: float = 0.5) -> None:
        """Waits until no prediction has come for ``quiet_s`` seconds."""
        while self._thread.is_alive() and time.monotonic() - self._seen_at < quiet_s:
            time.sleep(0.05)
        self.close()

    def close(self) -> None:
        """Stops reading."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _watch(self) -> None:
        consumer = ck.Consumer(
            {
                "bootstrap.servers": self._config.bootstrap_servers,
                **dict(self._config.kafka_properties),
                "group.id": f"{self._config.group_id}-watcher",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        topic = self._config.output_topic
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([ck.TopicPartition(topic, number, ck.OFFSET_BEGINNING) for number in partitions])
        while not self._stop.is_set():
            for message in consumer.consume(256, 0.1):
                if message.error() is None:
                    self._seen_at = time.monotonic()
                    self._note(message)
        consumer.close()

    def _note(self, message: ck.Message) -> None:
        headers = dict(message.headers() or [])
        try:
            outputs: Any = orjson.loads(message.value())
        except orjson.JSONDecodeError:
            return
        outputs = outputs.get("prediction", outputs) if isinstance(outputs, dict) else outputs
        label = outputs.get("label") if isinstance(outputs, dict) else None
        key = (message.key() or b"").decode("utf-8", "replace")
        truth = headers.get("label")
        verdict = ""
        if truth is not None and label is not None:
            split = (headers.get("split") or b"").decode()
            hit = str(label) == truth.decode()
            self._compared[split] += 1
            self._right[split] += hit
            verdict = "right" if hit else f"wrong, it is {truth.decode()}"
        shown = str(label) if label is not None else orjson.dumps(outputs).decode()
        self._latest.append((key, shown[:40], verdict))
