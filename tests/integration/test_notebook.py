"""A pipeline of one's own in a process that lives on, as in a notebook: when it has ended or failed, its group is left."""

from __future__ import annotations

import time
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tests import topics
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.sink import WriteToKafka
from transforms.kafka.native.source import ReadFromKafka
from transforms.kafka.stop import StopConditions
from transforms.types import KafkaRecord, OutputRecord

pytestmark = pytest.mark.usefixtures("not_draining")


@pytest.mark.parametrize("chunks", [False, True])
def test_the_group_is_left_after_a_failure_and_after_the_end(kafka: str, chunks: bool) -> None:
    """A member that stayed would keep its partitions from the next run for five minutes, and its budget would count what the
    failed run has read.
    """
    name = f"notebook-{chunks}-{time.time_ns()}"
    topics.create_topic(kafka, name)
    topics.create_topic(kafka, f"{name}.out")
    topics.produce(kafka, name, [b"%d" % number for number in range(10)])

    def score(failing: bool, **more: Any) -> None:
        config = KafkaConfig(kafka, (name,), name, "me", **more)
        stop = StopConditions(max_records=5, drain_at_s=time.time() + 30)  # a reader without partitions would read for ever

        def answer(record: KafkaRecord) -> OutputRecord:
            if failing and record.offset == 3:
                raise RuntimeError("a cell with a mistake")
            place = (record.topic, record.partition, record.offset)
            return OutputRecord(f"{name}.out", record.key, record.value, [], None, place, None)

        with beam.Pipeline(FnApiRunner()) as pipeline:
            read = pipeline | ReadFromKafka(config=config, stop=stop, chunks=chunks)
            if chunks:
                answers = read | "Answer" >> beam.Map(lambda chunk: [answer(record) for record in chunk])
            else:
                answers = read | "Answer" >> beam.Map(answer)
            answers | WriteToKafka(config, chunks=chunks)

    with pytest.raises(Exception, match="a cell with a mistake"):
        score(failing=True)
    assert topics.members(kafka, name)[1] == {}, "after a failure"
    score(failing=False)
    assert topics.members(kafka, name)[1] == {}, "after the end"
    assert topics.committed_offsets(kafka, name, name)[0] >= 5, "all five that may be read: a budget of its own"
    score(failing=False, batch_max_wait_ms=7)  # another configuration, so another member of the group
    assert [record.value for record in topics.read_all(kafka, f"{name}.out")] == [b"%d" % number for number in range(10)]
