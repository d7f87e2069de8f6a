"""Builds the Beam graph of ``--kafka_io=beam``: reading, scoring and writing are separate stages that commit separately.

The names of these transforms must not change: an updated Dataflow job takes over the state of transforms by their names
(``tests/pipeline/runners/test_build_java.py`` fails if one changes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apache_beam as beam

from transforms.coders import OutputChunk, RecordChunk
from transforms.kafka.beam.gate import Gate
from transforms.kafka.beam.io import ChunksByPartition, ReadFromKafka, SingleRecords, WriteToKafka
from transforms.kafka.config import JavaKafka
from transforms.predict.dofn import PredictChunks
from transforms.predict.stateful_batching import BatchChunks
from transforms.stages import DecodeAgain, DecodeChunks, EncodeChunks
from transforms.types import DecodedChunk, PredictedChunk

if TYPE_CHECKING:
    from pipeline.job import Job

Keyed = tuple[str, RecordChunk]


def build_with_java(pipeline: beam.Pipeline, job: Job, java: JavaKafka) -> None:
    """Adds the graph to ``pipeline``."""
    kafka = job.kafka
    batch = BatchChunks(kafka.batch_max_size, kafka.batch_max_wait_ms / 1000)
    records = pipeline | "Read" >> ReadFromKafka(kafka, java)
    if java.workers_are_here:
        records = records | "Gate" >> beam.ParDo(Gate()).with_output_types(Any)
    (
        records
        | "Chunk" >> beam.ParDo(ChunksByPartition(kafka.chunk_records)).with_output_types(Keyed)
        | "Batch" >> beam.ParDo(batch).with_output_types(RecordChunk)
        | "Decode" >> beam.ParDo(DecodeChunks(job.decode)).with_output_types(DecodedChunk)
        | "Predict"
        >> beam.ParDo(PredictChunks(job.predict, make_decoder=DecodeAgain(job.decode))).with_output_types(PredictedChunk)
        | "Encode" >> beam.ParDo(EncodeChunks(job.encode)).with_output_types(OutputChunk)
        | "Records" >> beam.ParDo(SingleRecords()).with_output_types(Any)
        | "Write" >> WriteToKafka(kafka, java)
    )
