"""What the graph of a pipeline says of its sources and sinks, while it is made: mistakes are told before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.userstate import is_stateful_dofn

from transforms.kafka.config import KafkaConfig

NEEDS = (
    "outputs and offsets of a bundle are committed together, so all that was read in a bundle must come to WriteToKafka in "
    "that bundle"
)


class Source(beam.PTransform):
    """A transform that reads Kafka, as this module finds it.

    Args:
        config: What it reads.
    """

    def __init__(self, config: KafkaConfig):
        super().__init__()
        self.config = config


class SourceFn(beam.DoFn):
    """The DoFn of a ``Source`` that may be without a sink.

    Attributes:
        has_sink: Whether the pipeline has a ``WriteToKafka`` for what it reads, which commits it.
    """

    has_sink = False


def refuse_twice(source: Source, pipeline: Any) -> None:
    """Makes sure that a pipeline reads with a group once.

    Raises:
        ValueError: It has another source of the same group.
    """
    config = source.config
    for applied in _all(pipeline.transforms_stack[0]):
        other = applied.transform
        if not isinstance(other, Source) or other is source:
            continue
        if (other.config.bootstrap_servers, other.config.group_id) == (config.bootstrap_servers, config.group_id):
            raise ValueError(
                f"ReadFromKafka reads with the group {config.group_id!r} twice in this pipeline: two readers of one group "
                "take each other's partitions and commit each other's offsets; read all topics with one ReadFromKafka("
                "topics=[…]), or give each a group.id of its own"
            )


def join(outputs: Any, config: KafkaConfig) -> None:
    """Finds the source of the outputs of a sink, and marks it as having a sink.

    Args:
        outputs: The PCollection that the sink writes.
        config: The sink's.

    Raises:
        ValueError: There is no source, or one of another configuration, or the way from it is more than one stage.
    """
    between: list[str] = []
    found = list(_sources_before(outputs, between, set()))
    if not found:
        raise ValueError(
            "WriteToKafka without ReadFromKafka: it commits outputs together with the offsets of the records that they "
            "answer; put ReadFromKafka(config=config) before it, or use apache_beam.io.kafka.WriteToKafka for what comes "
            "from elsewhere"
        )
    for applied in found:
        source: Source = applied.transform
        if differing := _differing(source.config, config):
            raise ValueError(
                f"WriteToKafka has another configuration than the ReadFromKafka before it ({', '.join(differing)}): make "
                "one KafkaConfig, and give it to both"
            )
    if between:
        raise ValueError(
            f"{', '.join(dict.fromkeys(between))} between ReadFromKafka and WriteToKafka: {NEEDS}, and this ends the stage; "
            "aggregate in a pipeline of its own that reads the output topic, or end this one in another sink than "
            "WriteToKafka: then ReadFromKafka commits once the runner has finalised a bundle (at least once)"
        )
    for applied in found:
        for part in applied.parts:
            fn = getattr(part.transform, "fn", None)
            if isinstance(fn, SourceFn):
                fn.has_sink = True


def config_before(pcollection: Any) -> KafkaConfig | None:
    """Returns what the source of a PCollection reads; ``None`` if it does not come from a ``Source``."""
    for applied in _sources_before(pcollection, [], set()):
        source: Source = applied.transform
        return source.config
    return None


def is_behind(pcollection: Any, kind: type[beam.PTransform]) -> bool:
    """Whether a PCollection comes from a transform of a kind, by the main inputs."""
    waiting, seen = [pcollection], set()
    while waiting:
        producer = waiting.pop().producer
        if producer is None or id(producer) in seen:
            continue
        seen.add(id(producer))
        waiting += producer.main_inputs.values()
        while producer is not None:
            if isinstance(producer.transform, kind):
                return True
            producer = producer.parent
    return False


def _all(applied: Any) -> Iterator[Any]:
    yield applied
    for part in applied.parts:
        yield from _all(part)


def _sources_before(pcollection: Any, between: list[str], seen: set[int]) -> Iterator[Any]:
    """The sources that a PCollection comes from, by its main inputs; adds what ends a stage on the way to ``between``."""
    producer = pcollection.producer
    if producer is None or id(producer) in seen:
        return
    seen.add(id(producer))
    source = producer
    while source is not None and not isinstance(source.transform, Source):
        source = source.parent
    if source is not None:
        yield source
        return
    before = [it for main in producer.main_inputs.values() for it in _sources_before(main, between, seen)]
    if before and (name := _ends_stage(producer.transform)):
        between.append(name)
    yield from before


def _ends_stage(transform: Any) -> str | None:
    """The name of a transform after which another stage begins; ``None`` if it may be fused with what is before it."""
    if isinstance(transform, (beam.GroupByKey, beam.Flatten)):
        return type(transform).__name__
    fn = getattr(transform, "fn", None)
    if isinstance(transform, beam.ParDo) and is_stateful_dofn(fn):
        return f"{type(fn).__name__}, a DoFn with state or timers,"
    return None


def _differing(one: KafkaConfig, other: KafkaConfig) -> list[str]:
    names = [field.name for field in dataclasses.fields(KafkaConfig)]
    return [name for name in names if getattr(one, name) != getattr(other, name)]
