"""The whole graph on one screen.

Predictions and failures travel as one PCollection of outcomes, not as tagged outputs flattened later: on the DirectRunner's
engine a Flatten, a GroupByKey or a Reshuffle behind the source splits the stage, and nothing behind it is emitted until the
job ends. Everything here fuses into one stage, and one bundle of it is one Kafka transaction.
"""

from __future__ import annotations

import dataclasses
import time

import apache_beam as beam

from transforms.coders import OutputChunk
from transforms.kafka.config import KafkaConfig
from transforms.kafka.sessions import session
from transforms.kafka.sink import WriteToKafka
from transforms.kafka.source import ReadFromKafka
from transforms.kafka.stop import StopConditions, draining
from transforms.predict import PredictChunks, PredictConfig
from transforms.stages import DecodeChunks, DecodeConfig, EncodeChunks, EncodeConfig
from transforms.types import DecodedChunk, PredictedChunk


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """Everything that a worker needs to run the graph; made by ``launch.py`` after all checks have passed."""

    kafka: KafkaConfig
    stop: StopConditions
    decode: DecodeConfig
    predict: PredictConfig
    encode: EncodeConfig


def build(pipeline: beam.Pipeline, job: Job) -> None:
    """Adds the graph to ``pipeline``."""
    guard = SessionGuard(job.kafka, job.predict.dispatch.retry.deadline_s)
    (
        pipeline
        | "Read" >> ReadFromKafka(config=job.kafka, stop=job.stop, chunks=True)
        | "Decode" >> beam.ParDo(DecodeChunks(job.decode, guard)).with_output_types(DecodedChunk)
        | "Predict" >> beam.ParDo(PredictChunks(job.predict, guard)).with_output_types(PredictedChunk)
        | "Encode" >> beam.ParDo(EncodeChunks(job.encode)).with_output_types(OutputChunk)
        | "Write" >> WriteToKafka(config=job.kafka, chunks=True)
    )


class SessionGuard:
    """Keeps this process's place in the consumer group while a bundle waits for the model server.

    Args:
        config: Whose session.
        drain_deadline_s: After a request to drain, how long a bundle may go on waiting, in seconds.
    """

    def __init__(self, config: KafkaConfig, drain_deadline_s: float):
        self._config, self._drain_deadline_s = config, drain_deadline_s
        self._draining_since: float | None = None

    def keep_alive(self) -> bool:
        """As ``BundleGuard.keep_alive``."""
        kafka = session(self._config)
        if draining():
            self._draining_since = self._draining_since or time.monotonic()
            if time.monotonic() - self._draining_since > self._drain_deadline_s:
                kafka.give_up("drained while the model server was down")
        return kafka.keep_alive()
