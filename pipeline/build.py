"""Builds the Beam graph of ``--kafka_io=native``: Read, Decode, Predict, Encode and Write, fused into one stage.

One bundle of this stage is one Kafka transaction. Predictions and failures are one PCollection of chunks, not two tagged
outputs that are flattened later: on FnApiRunner a Flatten, a GroupByKey or a Reshuffle after the source splits the stage,
and the second stage emits nothing until the job ends.

With Beam's Java transforms (``--kafka_io=beam``) the stages are separate: ``runners/build_java.py`` builds that graph.
"""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam

from pipeline.job import Job
from transforms.coders import OutputChunk
from transforms.kafka.native.session_carrier import SessionCarrier
from transforms.kafka.native.session_guard import SessionGuard
from transforms.kafka.native.session_leaver import SessionLeaver
from transforms.kafka.native.shards import MovingShards, Shards
from transforms.kafka.native.sink import WriteToKafka
from transforms.kafka.native.source import ReadFromKafka
from transforms.predict.dofn import PredictChunks
from transforms.stages import DecodeAgain, DecodeChunks, EncodeChunks
from transforms.types import DecodedChunk, PredictedChunk


def build(
    pipeline: beam.Pipeline,
    job: Job,
    shards: Shards | MovingShards | None = None,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Adds the graph to ``pipeline``.

    Args:
        pipeline: The Beam pipeline.
        job: The job to run.
        shards: The shards, for a runner that places them (Flink) or moves them (Dataflow).
        prepare: With ``shards``: called once in every worker process.
    """
    if job.java is not None:
        from pipeline.runners.build_java import (
            build_with_java,  # imported here: Beam's cross-language modules load slowly
        )

        build_with_java(pipeline, job, job.java)
        return
    guard = SessionGuard(job.kafka, job.predict.dispatch.retry.deadline_s, stop=job.stop)
    # With a rate limit no slot is idle for want of records, and what was carried over would wait long for its turns.
    carries = shards is None and job.predict.dispatch.limits.off
    predict = PredictChunks(
        job.predict,
        guard,
        make_decoder=DecodeAgain(job.decode, guard),
        carrier=SessionCarrier(job.kafka) if carries else None,
        leaver=SessionLeaver(job.kafka, job.stop) if shards is None else None,
    )
    (
        pipeline
        | "Read" >> ReadFromKafka(config=job.kafka, stop=job.stop, chunks=True, shards=shards, prepare=prepare)
        | "Decode" >> beam.ParDo(DecodeChunks(job.decode, guard)).with_output_types(DecodedChunk)
        | "Predict" >> beam.ParDo(predict).with_output_types(PredictedChunk)
        | "Encode" >> beam.ParDo(EncodeChunks(job.encode)).with_output_types(OutputChunk)
        | "Write" >> WriteToKafka(config=job.kafka, chunks=True)
    )
