"""Follows the outputs of a job with ``--kafka_io=beam`` in Kafka: commits the source's offsets, and drains the job.

The runners on this machine do not commit the source's offsets (Prism refuses to), and Beam's job service has no drain. So
the launching process reads the output topics. Each output names its source record (``inference.source``). An offset is
committed once all records before it, in its partition, have their outputs in Kafka. A job that is killed continues from
there: nothing is lost, and the outputs of records in flight are written twice. To drain, the gate
(``transforms/kafka/beam/gate.py``) lets no more records pass, and the job is cancelled when all records that passed have
their outputs.

Limit: outputs of another job that scores the same input into the same topics at the same time are taken for this job's.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable
from typing import Any

import confluent_kafka as ck
from apache_beam.runners.runner import PipelineState

from pipeline.job import Job
from transforms.headers import ERROR_CLASS, ERROR_STAGE, SOURCE
from transforms.kafka.beam.gate import Passed
from transforms.kafka.commit_metadata import metadata_of
from transforms.kafka.config import JavaKafka, KafkaConfig, Partition
from transforms.kafka.stop import draining
from transforms.kafka.vendor import timestamp_of
from transforms.observe import DeadLetterKind, observer
from transforms.retry import Deadline

log = logging.getLogger("pipeline")

POLL_S = 0.1
MOST = 5000
COMMIT_S = 1.0
LOOK_S = 1.0
ASK_S = 30.0


class Follower:
    """Reads the output topics, from their present ends on.

    Args:
        config: The job's Kafka configuration.
        java: Has the output topics.
        gate: Is told which records have their outputs.
    """

    def __init__(self, config: KafkaConfig, java: JavaKafka, gate: Passed):
        self._gate = gate
        self._committed: dict[Partition, int] = {}
        self._metadata = metadata_of(config)
        properties = {**config.consumer_properties(), "isolation.level": "read_uncommitted", "log_level": 0}
        self._consumer = ck.Consumer(properties)
        places = [ck.TopicPartition(topic, number) for topic, count in java.partitions for number in range(count)]
        for place in places:
            _, place.offset = self._consumer.get_watermark_offsets(place, timeout=ASK_S, cached=False)
        self._consumer.assign(places)

    def poll(self) -> int:
        """Reads new outputs; returns how many of them belong to this job."""
        latencies_s: collections.Counter[float] = collections.Counter()
        ages_s: list[float] = []
        dead: collections.Counter[DeadLetterKind] = collections.Counter()
        for message in self._consumer.consume(MOST, POLL_S):
            if message.error() is not None:
                continue  # the end of a partition, or an error of Kafka, which the job itself reports
            headers = dict(message.headers() or ())
            source = (headers.get(SOURCE) or b"").decode(errors="replace").rsplit("/", 2)
            if len(source) != 3 or not (source[1].isdecimal() and source[2].isdecimal()):
                continue
            latency_s = self._gate.written(source[0], int(source[1]), int(source[2]))
            if latency_s is not None:
                latencies_s[round(latency_s, 3)] += 1
                stamp_ms = timestamp_of(*message.timestamp())
                if stamp_ms is not None:
                    ages_s.append(max(0.0, time.time() - stamp_ms / 1000))
                if ERROR_CLASS in headers:
                    stage, name = ((headers.get(it) or b"").decode(errors="replace") for it in (ERROR_STAGE, ERROR_CLASS))
                    dead[stage, name] += 1
        count = latencies_s.total()
        if count:
            observer().committed(count - dead.total(), dict(dead), list(latencies_s.items()))
            observer().committed_after(ages_s, None)
        return count

    def commit(self) -> None:
        """Commits the offsets before which all records have their outputs."""
        positions = self._gate.positions()
        moved = {partition: offset for partition, offset in positions.items() if self._committed.get(partition) != offset}
        if not moved:
            return
        try:
            self._consumer.commit(
                offsets=[ck.TopicPartition(*partition, offset, self._metadata) for partition, offset in moved.items()],
                asynchronous=False,
            )
        except ck.KafkaException as error:
            log.warning("offsets were not committed, their records may be read again: %s", error)
        else:
            self._committed.update(moved)

    def close(self) -> None:
        """Closes the consumer."""
        self._consumer.close()


def follow(result: Any, job: Job, follower: Follower, gate: Passed, clock: Callable[[], float] = time.monotonic) -> None:
    """Follows a job until its gate is closed and all outputs are written, then cancels it.

    Args:
        result: The running pipeline's result.
        job: The job.
        follower: Reads the job's outputs.
        gate: The gate of the job.
        clock: Returns seconds, monotonic.

    Raises:
        RuntimeError: The job failed. The text holds the trace.
    """
    patience_s = job.predict.dispatch.retry.deadline_s
    committed_at = looked_at = moved_at = clock()
    while not PipelineState.is_terminal(result.state):
        came, now = follower.poll(), clock()
        if came or not draining():
            moved_at = now
        if now - committed_at > COMMIT_S:
            committed_at = now
            follower.commit()
        if gate.missing() and now - looked_at > LOOK_S:
            looked_at = now
            skip_what_holds_no_records(job.kafka, gate)
        given_up = now - moved_at > patience_s
        if gate.is_complete() and (given_up or not gate.in_flight):
            if given_up and gate.in_flight:
                log.warning(
                    "drained before all records were answered, as nothing came for %.0f s: "
                    "%d records are read again next time",
                    *(patience_s, gate.in_flight),
                )
            result.cancel()
            follower.commit()
            return
    result.wait_until_finish()


def skip_what_holds_no_records(config: KafkaConfig, gate: Passed) -> None:
    """Moves the gate's positions past transaction markers and compacted records before the ends of ``--until_end``."""
    missing = gate.missing()
    consumer = ck.Consumer({**config.consumer_properties(), "auto.offset.reset": "earliest", "log_level": 0})
    try:
        consumer.assign([ck.TopicPartition(*partition, at) for partition, (at, _) in missing.items()])
        waiting = set(missing)
        deadline = Deadline(LOOK_S)
        while waiting and not deadline.passed:
            for message in consumer.consume(len(waiting), POLL_S):
                error, partition = message.error(), (message.topic(), message.partition())
                if error is not None and error.code() != ck.KafkaError._PARTITION_EOF:
                    continue
                if partition in waiting and message.offset() >= missing[partition][1]:
                    gate.skip_to(partition, missing[partition][1])
                waiting.discard(partition)  # a record before the end has not passed the gate yet
    finally:
        consumer.close()
