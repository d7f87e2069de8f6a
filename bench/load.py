"""An open-loop load generator and a receiver that measures latency.

The generator sends records at a fixed rate, whatever the program under test does. Each record has the time at which it was
due in the header ``bench.sent_ns``, so that a sender that is late hides nothing; all sides copy it to the output. A
``read_committed`` consumer in the same process notes when each output arrives.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bench.setting import BenchmarkError
from tests import topics

SENT_HEADER = "bench.sent_ns"


class Receiver:
    """Collects ``(sent, received)``, nanoseconds since the epoch, of every output from now on."""

    def __init__(self, bootstrap: str, topic: str):
        self.arrivals: list[tuple[int, int]] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "log_level": 2,
                "group.id": "bench-receiver",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
            }
        )
        ends = topics.end_offsets(bootstrap, topic)
        self._consumer.assign([TopicPartition(topic, partition, end) for partition, end in ends.items()])
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._receive, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._consumer.close()
        if self._error:
            raise self._error

    def _receive(self) -> None:
        while not self._stopping.is_set():
            message = self._consumer.poll(0.1)
            now = time.time_ns()
            if message is None:
                continue
            if message.error():
                self._error = KafkaException(message.error())
                return
            sent = next((value for name, value in message.headers() or () if name == SENT_HEADER), None)
            if sent is not None:
                self.arrivals.append((int(sent), now))


class Sender:
    """Produces at a fixed rate."""

    def __init__(self, bootstrap: str, topic: str, values: list[bytes]):
        self.sent = 0
        self._topic, self._values = topic, values
        self._errors: list[Any] = []
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "log_level": 2,
                "linger.ms": 0,
                "delivery.report.only.error": True,
                "on_delivery": lambda error, _: self._errors.append(error),
            }
        )

    def send(self, late_s: float = 0.0) -> None:
        """Sends one record now, which was due ``late_s`` ago."""
        value = self._values[self.sent % len(self._values)]
        headers = [(SENT_HEADER, b"%d" % (time.time_ns() - round(late_s * 1e9)))]
        self._producer.produce(self._topic, value, b"%08d" % self.sent, headers=headers)
        self._producer.poll(0)
        if self._errors:
            raise KafkaException(self._errors[0])
        self.sent += 1

    def stop(self) -> None:
        """Ends ``run``, from another thread."""
        self._stopping.set()

    def run(self, per_second: float, seconds: float) -> float:
        """Sends at a rate for some time; returns how late the latest record was sent, in milliseconds."""
        started, late = time.perf_counter(), 0.0
        for index in range(int(per_second * seconds)):
            if self._stopping.is_set():
                break
            due = started + index / per_second
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            late_s = max(0.0, time.perf_counter() - due)
            late = max(late, late_s)
            self.send(late_s)
        return late * 1000


def wait_for_first(sender: Sender, receiver: Receiver, process: Any, timeout_s: float) -> None:
    """Sends a record every 0.2 s until the first output comes.

    Raises:
        BenchmarkError: None came in time, or the program ended.
    """
    deadline = time.monotonic() + timeout_s
    while not receiver.arrivals:
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError(f"no output within {timeout_s:.0f} s (status of the program: {process.poll()})")
        sender.send()
        time.sleep(0.2)


def wait_for_all(sender: Sender, receiver: Receiver, timeout_s: float) -> None:
    """Waits until every record sent has its output.

    Raises:
        BenchmarkError: Some have not.
    """
    deadline = time.monotonic() + timeout_s
    while len(receiver.arrivals) < sender.sent:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{sender.sent - len(receiver.arrivals)} of {sender.sent} records were not answered")
        time.sleep(0.05)
