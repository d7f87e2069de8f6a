"""The graph of ``--kafka_io=beam``: the names that an update of a running job goes by, and what Java is told."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.io import kafka
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.build import build
from pipeline.job import Job
from tests.expansion_stub import asked, expansion_stub
from tests.fake_model import signature
from transforms.kafka.config import JavaKafka, KafkaConfig
from transforms.kafka.stop import StopConditions
from transforms.predict.dofn import PredictConfig
from transforms.stages import DecodeConfig, EncodeConfig
from transforms.types import ModelMetadata

SERVED = signature((-1, -1))

NAMES = ["Read", "Chunk", "Batch", "Decode", "Predict", "Encode", "Records", "Write"]
"""Part of the contract: Dataflow hands state over, from a job to its update, by these names."""


def job(address: str, here: bool, commit: bool = False) -> Job:
    return Job(
        KafkaConfig("h:1", ("a", "b"), "group", delivery="at_least_once"),
        StopConditions(),
        DecodeConfig(SERVED),
        PredictConfig("grpc://h:1/m", ModelMetadata("m", "1", SERVED)),
        EncodeConfig("out", "dead", "m"),
        JavaKafka(address, commit, (("out", 3), ("dead", 3)), here),
    )


def built(here: bool, commit: bool = False) -> list[str]:
    """Returns the names of the outermost transforms, in their order."""
    with expansion_stub() as address:
        pipeline = beam.Pipeline(options=PipelineOptions([]))
        build(pipeline, job(address, here, commit))
        proto = pipeline.to_runner_api()
    [root] = proto.root_transform_ids
    return [proto.components.transforms[name].unique_name for name in proto.components.transforms[root].subtransforms]


@pytest.mark.parametrize("here", [True, False])
def test_the_names_never_change(here: bool) -> None:
    """The gate stands only where the workers are threads of the launching process, and then after the source."""
    assert built(here) == ([NAMES[0], "Gate", *NAMES[1:]] if here else NAMES)


def test_java_is_told_where_to_read_and_write_and_by_whose_group() -> None:
    built(here=False, commit=True)
    [(read, source), (write, sink)] = asked
    assert (read, write) == (kafka.ReadFromKafka.URN_WITH_METADATA, kafka.WriteToKafka.URN_WITH_HEADERS)
    assert list(source["topics"]) == ["a", "b"]
    assert source["consumer_config"]["group.id"] == "group"
    assert source["consumer_config"]["enable.auto.commit"] == "false"
    assert source["commit_offset_in_finalize"] is True
    assert source["timestamp_policy"] == "ProcessingTime", "Java's policy by CreateTime fails on topics with append time"
    assert sink["producer_config"]["bootstrap.servers"] == "h:1"


def test_offsets_are_committed_by_java_only_where_the_runner_can() -> None:
    built(here=True)
    assert asked[0][1]["commit_offset_in_finalize"] is False


def test_the_native_graph_has_its_names_too() -> None:
    native = job("", here=False)
    pipeline = beam.Pipeline(options=PipelineOptions([]))
    build(pipeline, Job(native.kafka, native.stop, native.decode, native.predict, native.encode))
    proto = pipeline.to_runner_api()
    [root] = proto.root_transform_ids
    names = [proto.components.transforms[name].unique_name for name in proto.components.transforms[root].subtransforms]
    assert names == ["Read", "Decode", "Predict", "Encode", "Write"]
