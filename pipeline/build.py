"""The whole graph on one screen.

Predictions and failures travel as one PCollection of outcomes, not as tagged outputs flattened later: on the DirectRunner's
engine a Flatten, a GroupByKey or a Reshuffle behind the source splits the stage, and nothing behind it is emitted until the
job ends. Everything here fuses into one stage, and one bundle of it is one Kafka transaction.

With Beam's Java transforms (``--kafka_io=beam``) the stages can't be one: that graph is ``build_java.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import apache_beam as beam

from transforms.coders import OutputChunk
from transforms.kafka.config import JavaKafka, KafkaConfig
from transforms.kafka.guard import SessionGuard
from transforms.kafka.shards import Shards
from transforms.kafka.sink import WriteToKafka
from transforms.kafka.source import ReadFromKafka
from transforms.kafka.stop import StopConditions
from transforms.predict import PredictChunks, PredictConfig
from transforms.stages import DecodeChunks, DecodeConfig, EncodeChunks, EncodeConfig
from transforms.types import DecodedChunk, PredictedChunk


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """Everything that a worker needs to run the graph; made by ``launch.py`` after all checks have passed.

    Attributes:
        java: How Beam's Java transforms are reached; ``None`` for the native ones.
    """

    kafka: KafkaConfig
    stop: StopConditions
    decode: DecodeConfig
    predict: PredictConfig
    encode: EncodeConfig
    java: JavaKafka | None = None


def build(
    pipeline: beam.Pipeline, job: Job, shards: Shards | None = None, prepare: Callable[[], None] | None = None
) -> None:
    """Adds the graph to ``pipeline``.

    Args:
        pipeline: Beam's.
        job: What to run.
        shards: For an engine that places shards itself.
        prepare: With ``shards``: called once in every worker process.
    """
    if job.java is not None:
        from pipeline.build_java import (
            build_with_java,  # here: it loads Beam's part for other languages, which takes a while
        )

        build_with_java(pipeline, job, job.java)
        return
    guard = SessionGuard(job.kafka, job.predict.dispatch.retry.deadline_s)
    (
        pipeline
        | "Read" >> ReadFromKafka(config=job.kafka, stop=job.stop, chunks=True, shards=shards, prepare=prepare)
        | "Decode" >> beam.ParDo(DecodeChunks(job.decode, guard)).with_output_types(DecodedChunk)
        | "Predict" >> beam.ParDo(PredictChunks(job.predict, guard)).with_output_types(PredictedChunk)
        | "Encode" >> beam.ParDo(EncodeChunks(job.encode)).with_output_types(OutputChunk)
        | "Write" >> WriteToKafka(config=job.kafka, chunks=True)
    )
