"""Throughput: records per second of a side that reads a preloaded topic of 4 partitions to its end.

The broker measures it in the same way for each side: the output topic stamps records when they are appended
(``LogAppendTime``), and the rate is taken between the 5th and the 95th percentile of these times. So start-up and the last
records do not count, and a side that writes large bundles has no advantage from reading its first bundle before the
measurement starts. The sides run in turn, and the result is the ratio of their medians.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from bench import setting
from bench.report import Figure, median_of
from tests import topics

TRIM = 0.05
TIMEOUT_S = 300


def warm_up(bootstrap: str, records: int, pipeline_flags: tuple[str, ...]) -> None:
    """Runs both sides once without counting: the broker's JVM compiles its code meanwhile.

    Raises:
        BenchmarkError: A side failed.
    """
    measure(bootstrap, 0.0, [setting.HANDWRITTEN_HEADERS, setting.EXACTLY_ONCE], records, 1, pipeline_flags, lambda _: None)


def measure(
    bootstrap: str,
    latency_ms: float,
    sides: list[str],
    records: int,
    runs: int,
    pipeline_flags: tuple[str, ...],
    say: Callable[[str], None],
) -> dict[str, Figure]:
    """Runs each side ``runs`` times in turn.

    Raises:
        BenchmarkError: A side failed, or its output has not every input exactly once.
    """
    rates: dict[str, list[float]] = {side: [] for side in sides}
    source = setting.new_topic(bootstrap, "input")
    topics.produce(bootstrap, source, setting.values(records), keys=(b"%08d" % i for i in range(records)))
    with setting.model_server(latency_ms) as model:
        for run in range(runs):
            for side in sides[run % len(sides) :] + sides[: run % len(sides)]:
                output = setting.new_topic(bootstrap, "output", message_timestamp_type="LogAppendTime")
                job = setting.Job(bootstrap, model, source, output, True, pipeline_flags)
                took_s, cpu_s = setting.run_to_end(job.command(side), TIMEOUT_S)
                times, distinct = append_times(bootstrap, output)
                if len(times) != records or distinct != (0 if side == setting.HANDWRITTEN else records):
                    raise setting.BenchmarkError(f"{side}: {records} in, {len(times)} out, of {distinct} sources")
                rates[side].append(rate(times))
                total = f"with start and stop {took_s:.1f} s, {cpu_s:.1f} s of CPU"
                say(f"  {latency_ms:g} ms, {side}: {rates[side][-1]:,.0f} records/s ({total})")
    return {side: median_of(f"{side}, {latency_ms:g} ms server", runs, "records/s") for side, runs in rates.items()}


def rate(times_ms: np.ndarray) -> float:
    """Records per second between the 5th and the 95th percentile of the append times (sorted, milliseconds)."""
    first, last = int(len(times_ms) * TRIM), int(len(times_ms) * (1 - TRIM)) - 1
    return float((last - first) / max((times_ms[last] - times_ms[first]) / 1000, 1e-3))


def slots_busy(rates: Figure, latency_ms: float, slots: int, rows: int) -> Figure:
    """Returns how many of the requests that may be in flight were, on average (Little's law)."""
    shares = tuple(rate * latency_ms / 1000 / (slots * rows) for rate in rates.runs)
    return median_of(f"slots busy, {rates.name}", shares, f"of {slots}")


def append_times(bootstrap: str, topic: str) -> tuple[np.ndarray, int]:
    """Returns the sorted append times of a topic's committed records, and the number of distinct source records."""
    times: list[int] = []
    sources: set[bytes] = set()
    for message in committed(bootstrap, topic):
        times.append(message.timestamp()[1])
        sources.update(value for name, value in message.headers() or () if name == topics.SOURCE_HEADER)
    return np.sort(np.array(times, dtype=np.int64)), len(sources)


def committed(bootstrap: str, topic: str) -> Iterator[Message]:
    """Yields a topic's committed records, each partition's in their order."""
    ends = {partition: end for partition, end in topics.end_offsets(bootstrap, topic).items() if end}
    config = {"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**config, "auto.offset.reset": "earliest", "log_level": 2})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    while ends:
        for message in consumer.consume(10_000, 0.2):
            if error := message.error():
                if error.code() == KafkaError._PARTITION_EOF:
                    ends.pop(message.partition(), None)
                continue
            yield message
    consumer.close()


def ratio(name: str, ours: Figure, peer: Figure, at_least: float | None = None) -> Figure:
    """Returns our median divided by the peer's."""
    pairs = tuple(mine / theirs for mine, theirs in zip(ours.runs, peer.runs, strict=True))
    return Figure(name, ours.value / peer.value, "×", pairs, at_least=at_least)
