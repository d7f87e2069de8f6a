"""What a pipeline is refused for while it is made, and what a source learns of its sink."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.graph import SourceFn
from transforms.kafka.native.sink import WriteToKafka, as_list
from transforms.kafka.native.source import ReadFromKafka
from transforms.types import KafkaRecord, OutputRecord

CONFIG = KafkaConfig("127.0.0.1:1", ("in",), "group")
OTHER = KafkaConfig("127.0.0.1:1", ("in",), "other")


def read(config: KafkaConfig = CONFIG) -> ReadFromKafka:
    return ReadFromKafka(config=config)


def has_sink(pipeline: Any) -> bool:
    """Whether the source of a pipeline was told that it has one."""
    parts = [pipeline.transforms_stack[0]]
    for part in parts:
        parts.extend(part.parts)
    [fn] = [part.transform.fn for part in parts if isinstance(getattr(part.transform, "fn", None), SourceFn)]
    return bool(fn.has_sink)


def grouped(records: Any) -> Any:
    return records | beam.WindowInto(beam.window.FixedWindows(1)) | beam.Map(lambda it: (0, it)) | beam.GroupByKey()


def flattened(records: Any) -> Any:
    return [records | "One" >> beam.Map(lambda it: it), records | "Two" >> beam.Map(lambda it: it)] | beam.Flatten()


class Counting(beam.DoFn):
    COUNT = beam.transforms.userstate.CombiningValueStateSpec("count", combine_fn=sum)

    def process(self, element: Any, count: Any = beam.DoFn.StateParam(COUNT)) -> Any:
        yield element


@pytest.mark.parametrize(
    ("between", "name"),
    [
        (grouped, "GroupByKey"),
        (lambda records: records | beam.Reshuffle(), "GroupByKey"),
        (flattened, "Flatten"),
        (lambda records: records | beam.Map(lambda it: (0, it)) | beam.ParDo(Counting()), "Counting, a DoFn with state"),
    ],
)
def test_what_ends_the_stage_between_source_and_sink_is_named(between: Callable[[Any], Any], name: str) -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    records = between(pipeline | read())
    with pytest.raises(ValueError, match=f"{name}.* between ReadFromKafka and WriteToKafka.*ends the stage"):
        records | "After" >> beam.Map(lambda it: it) | WriteToKafka(CONFIG)


def test_what_comes_from_elsewhere_may_be_grouped_before_it_is_a_side_input() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    names = pipeline | beam.Create([(1, "a")]) | beam.GroupByKey()
    records = pipeline | read() | beam.Map(lambda record, names: record, beam.pvalue.AsDict(names))
    records | WriteToKafka(CONFIG)
    assert has_sink(pipeline)


@pytest.mark.parametrize(
    "steps", [[], [beam.Map(lambda it: it)], ["A" >> beam.Filter(bool), "B" >> beam.FlatMap(lambda it: [it])]]
)
def test_a_source_learns_of_its_sink(steps: list[Any]) -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    records = pipeline | read()
    for step in steps:
        records = records | step
    assert not has_sink(pipeline)
    records | WriteToKafka(CONFIG)
    assert has_sink(pipeline)


def test_two_sinks_of_one_source() -> None:
    """As predictions and dead letters of one bundle may be."""
    pipeline = beam.Pipeline(runner=FnApiRunner())
    records = pipeline | read()
    records | "One" >> WriteToKafka(CONFIG)
    records | "Two" >> WriteToKafka(CONFIG)
    assert has_sink(pipeline)


def test_another_configuration_is_named_by_its_fields() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    with pytest.raises(ValueError, match=r"another configuration than the ReadFromKafka before it \(group_id\): make one"):
        pipeline | read() | WriteToKafka(OTHER)


def test_a_sink_without_a_source() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    with pytest.raises(ValueError, match=r"WriteToKafka without ReadFromKafka.*apache_beam\.io\.kafka"):
        pipeline | beam.Create([1]) | WriteToKafka(CONFIG)


def test_a_group_is_read_with_once() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    pipeline | "One" >> read()
    pipeline | "Other" >> read(OTHER)
    with pytest.raises(ValueError, match=r"reads with the group 'group' twice.*topics=\[…\].*group\.id of its own"):
        pipeline | "Again" >> read()
    another = beam.Pipeline(runner=FnApiRunner())
    another | read()  # pipelines do not know of each other


@pytest.mark.parametrize(
    ("more", "topics", "problem"),
    [
        ({}, "orders", r"topics: give a list of names, such as \['orders'\]"),
        ({"key.deserializer": "x", "grup": "y"}, ["orders"], "consumer_config has key.deserializer, grup, which librdkafka"),
    ],
)
def test_what_java_people_and_hasty_ones_write_is_refused(more: dict[str, str], topics: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ReadFromKafka({"bootstrap.servers": "127.0.0.1:1", "group.id": "group", **more}, topics)


def test_topics_of_a_configuration_are_no_text() -> None:
    with pytest.raises(ValueError, match=r"config.topics: give a tuple of names, such as \('in',\)"):
        ReadFromKafka(config=dataclasses.replace(CONFIG, topics="in"))  # type: ignore[arg-type]


def test_what_is_no_output_record_is_named_by_the_sink() -> None:
    """Pairs are what Beam's own sink takes; they failed in the source, as a tuple without a topic."""
    with pytest.raises(TypeError, match=r"WriteToKafka takes OutputRecord elements, .*, and one is a tuple"):
        as_list((b"key", b"value"))
    record = OutputRecord.answering(KafkaRecord("in", 0, 1, None, None, b"v", []), "out", b"w")
    assert as_list(record) == [record]


@pytest.mark.parametrize("left_out", ["bootstrap.servers", "group.id"])
def test_what_the_configuration_lacks_is_named(left_out: str) -> None:
    properties = {"bootstrap.servers": "127.0.0.1:1", "group.id": "group"}
    del properties[left_out]
    with pytest.raises(ValueError, match=f"consumer_config lacks {left_out}"):
        ReadFromKafka(properties, ["in"])
