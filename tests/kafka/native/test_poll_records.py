"""The source of a pipeline without a sink, on FnApiRunner and a broker in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline.embedded.broker import EmbeddedBroker
from tests import topics
from transforms.kafka.native.poll_records import PollRecords, _advance, _alone
from transforms.kafka.native.polls import PollTracker
from transforms.kafka.native.source import ReadFromKafka, config_from_properties
from transforms.kafka.stop import StopConditions
from transforms.types import KafkaRecord

pytestmark = pytest.mark.usefixtures("not_draining")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with EmbeddedBroker({"in": 2, "fails": 1}) as started:
        topics.produce(started.address, "in", [b"%d" % number for number in range(10)], timestamps_ms=range(1, 11))
        topics.produce(started.address, "fails", [b"%d" % number for number in range(10)])
        yield started.address


class Collect(beam.DoFn):
    """Puts what it sees into a list of this process, which FnApiRunner's worker shares."""

    seen: list[tuple[int, int, float]] = []  # noqa: RUF012  # shared on purpose

    def process(self, record: KafkaRecord, at: Any = beam.DoFn.TimestampParam) -> None:
        self.seen.append((record.partition, record.offset, float(at) * 1000))


class Finalizer:
    """Of a runner that drops what it is to call."""

    def register(self, finalise: object) -> None:
        pass


class Deferring(PollTracker):
    """As Beam's view of a tracker."""

    def defer_remainder(self) -> None:
        pass


def run(broker: str, group: str, topic: str, records: int, then: Any) -> None:
    with beam.Pipeline(FnApiRunner()) as pipeline:  # not --streaming: an unbounded source says so itself
        source = ReadFromKafka({"bootstrap.servers": broker, "group.id": group}, [topic], max_num_records=records)
        pipeline | source | then


def test_it_reads_commits_and_goes_on_where_it_ended(broker: str) -> None:
    Collect.seen.clear()
    run(broker, "goes-on", "in", 6, beam.ParDo(Collect()))
    assert len(Collect.seen) == 6
    assert sum(topics.committed_offsets(broker, "goes-on", "in").values()) == 6
    run(broker, "goes-on", "in", 4, beam.ParDo(Collect()))
    places = [(partition, offset) for partition, offset, _ in Collect.seen]
    for number in (0, 1):
        mine = [offset for partition, offset in places if partition == number]
        assert mine == list(range(len(mine))), "each once, in the order of the partition"
    assert sorted(at for _, _, at in Collect.seen) == list(range(1, 11)), "the timestamps of the records"
    assert not _alone, "the source that ended has left its group"


def test_what_fails_is_not_committed_and_is_read_again(broker: str) -> None:
    def fail(record: KafkaRecord) -> None:
        Collect.seen.append((record.partition, record.offset, 0.0))
        if record.offset == 5 and len(Collect.seen) < 7:
            raise RuntimeError("the sink is away")

    Collect.seen.clear()
    with pytest.raises(Exception, match="the sink is away"):
        run(broker, "again", "fails", 10, beam.Map(fail))
    assert topics.committed_offsets(broker, "again", "fails") == {0: 0}
    assert not _alone, "what has failed has left the group: the next run may be another one of the same group"
    run(broker, "again", "fails", 10, beam.Map(fail))  # in the same process, whose position is past them
    seen = [offset for _, offset, _ in Collect.seen]
    assert seen == [*range(6), *range(10)]
    assert topics.committed_offsets(broker, "again", "fails") == {0: 10}


def test_a_topic_that_is_missing_is_named(broker: str) -> None:
    with pytest.raises(Exception, match="nowhere: the topic does not exist"):
        run(broker, "missing", "nowhere", 1, beam.ParDo(Collect()))
    assert not _alone, "the next attempt in this process begins anew"


def test_a_bundle_that_is_run_again_is_not_behind_the_watermark(broker: str) -> None:
    """What is read again may be older than what was read before: it would be late, and a window would drop it."""
    source = PollRecords(
        config_from_properties({"bootstrap.servers": broker, "group.id": "run-again"}, ["fails"]), StopConditions()
    )
    marks = []
    for _ in range(2):
        read: list[Any] = []
        while not read:  # the group is joined meanwhile
            read = list(source.process(None, Finalizer(), ManualWatermarkEstimator(None), Deferring(0)))
        marks.append(_alone[source._config, source._stop].watermark)
    assert marks[0] is not marks[1]
    source._end()


def test_the_watermark_moves_on_and_never_back() -> None:
    estimator = ManualWatermarkEstimator(None)
    for seconds, expected in ((5.0, 5.0), (3.0, 5.0), (7.5, 7.5)):
        _advance(estimator, seconds)
        assert float(estimator.current_watermark()) == expected


def test_the_group_is_left_when_the_last_dofn_is_torn_down(broker: str) -> None:
    """The runner has several of them at a time. What was read counts against the most that is to be read all the same."""
    config = config_from_properties({"bootstrap.servers": broker, "group.id": "torn-down"}, ["fails"])
    fns = [PollRecords(config, StopConditions(max_records=4)) for _ in range(2)]
    key = config, fns[0]._stop

    def read(number: int) -> int:
        chunks = fns[0].process(None, Finalizer(), ManualWatermarkEstimator(None), Deferring(number))
        return sum(len(chunk) for chunk in chunks)

    for fn in fns:
        fn.setup()
    number = found = 0
    while found < 4:  # a bundle takes what has come by then
        found, number = found + read(number), number + 1
    assert found == 4
    fns[0].teardown()
    assert key in _alone, "the other may still read"
    fns[1].teardown()
    assert key not in _alone
    fns[0].setup()
    assert read(number) == 0
    fns[0].teardown()
    assert not _alone
