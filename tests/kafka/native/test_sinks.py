"""A source whose records only a sink could commit is told so at its first bundle, before Kafka is asked for anything."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline  # pytest collects what is called Test…

from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.sinks import note_sink, require_sink
from transforms.kafka.native.source import ReadFromKafka


def config(group: str) -> KafkaConfig:
    return KafkaConfig("127.0.0.1:1", ("in",), group)


def test_lists_of_records_without_a_sink_end_at_once_with_what_to_add() -> None:
    pipeline = BeamPipeline(runner=FnApiRunner())
    pipeline | ReadFromKafka(config=config("without"), chunks=True) | beam.Map(lambda record: record)
    with pytest.raises(Exception, match=r"without WriteToKafka.*end the pipeline in WriteToKafka\(config\)"):
        pipeline.run().wait_until_finish()


def test_with_its_sink_it_may_read() -> None:
    note_sink(config("with"))
    require_sink(config("with"))
    with pytest.raises(KafkaError, match="without WriteToKafka"):
        require_sink(config("else"))
