"""The whole graph on one screen.

Predictions and failures travel as one PCollection of outcomes, not as tagged outputs flattened later: on the DirectRunner's
engine a Flatten, a GroupByKey or a Reshuffle behind the source splits the stage, and nothing behind it is emitted until the
job ends. Everything here fuses into one stage, and one bundle of it is one Kafka transaction.

With Beam's Java transforms (``--kafka_io=beam``) the stages can't be one: that graph is ``runners/build_java.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam

from pipeline.job import Job
from transforms.coders import OutputChunk
from transforms.kafka.native.session_guard import SessionGuard
from transforms.kafka.native.shards import Shards
from transforms.kafka.native.sink import WriteToKafka
from transforms.kafka.native.source import ReadFromKafka
from transforms.predict.dofn import PredictChunks
from transforms.stages import DecodeChunks, EncodeChunks
from transforms.types import DecodedChunk, PredictedChunk


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
        from pipeline.runners.build_java import (
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
