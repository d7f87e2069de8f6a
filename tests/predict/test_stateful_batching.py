"""Batching over bundles: full batches, the wait, the end, and records that come late; with time that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline  # pytest collects what is called Test…
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.transforms.window import TimestampedValue

from tests.fake_model import FakeModel, serving, signature
from transforms.coders import RecordChunk
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.stateful_batching import BatchChunks
from transforms.stages import DecodeChunks, DecodeConfig
from transforms.types import DecodedChunk, KafkaRecord, ModelMetadata, PredictedChunk

Keyed = tuple[str, RecordChunk]
Found = list[tuple[str, list[int]]]
SIGNATURE = signature((-1, -1))
SIZE, WAIT_S = 4, 10.0


def chunk(*offsets: int, partition: int = 0, timestamp_ms: int = 1_000) -> Keyed:
    records = [KafkaRecord("in", partition, offset, timestamp_ms, None, b"[%d]" % offset, []) for offset in offsets]
    return f"in/{partition}", RecordChunk(records)


_found: Found = []
_now_s = [0.0]


@pytest.fixture(autouse=True)
def found() -> Found:
    """What came out, in its order. The runner works in this process, on functions of this module, not on copies."""
    _found.clear()
    _now_s[0] = 0.0
    return _found


def run(added: Any, after: Callable[[Any], Any] | None = None, log: Callable[[Any], Any] | None = None) -> None:
    """Runs a stream through the stage, on Beam's runner that knows a test's time."""
    _now_s[0] = 0.0
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    with BeamPipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        batches = (
            pipeline
            | added
            | beam.FlatMap(without_time).with_output_types(Keyed)
            | beam.ParDo(BatchChunks(SIZE, WAIT_S, clock=lambda: _now_s[0])).with_output_types(RecordChunk)
        )
        (after(batches) if after else batches) | beam.Map(log or note)


def wait(added: Any, seconds: float) -> Any:
    """Lets time pass, for the runner and for the stage."""
    _now_s[0] += seconds  # of the stream that is being made
    return added.advance_processing_time(seconds).add_elements([_now_s[0]])


def without_time(element: Keyed | float) -> Iterator[Keyed]:
    if isinstance(element, float):
        _now_s[0] = element
    else:
        yield element


def note(records: Any) -> None:
    _found.append((f"{records[0].topic}/{records[0].partition}", [record.offset for record in records]))


def note_answers(predicted: PredictedChunk) -> None:
    for answer in predicted.answers:
        _found.append(("answer", [predicted.records[row].offset for row in answer.rows]))


def stream() -> Any:
    return Stream(coder=beam.coders.FastPrimitivesCoder())


def test_a_full_batch_waits_for_nothing(found: Found) -> None:
    """Not for time, and not for a watermark."""
    run(stream().add_elements([chunk(0, 1, 2, 3)]).add_elements([chunk(4, 5, 6, 7, 8)]).advance_watermark_to_infinity())
    assert found == [("in/0", [0, 1, 2, 3]), ("in/0", [4, 5, 6, 7, 8])]


def test_records_of_many_bundles_fill_a_batch_in_their_order(found: Found) -> None:
    added = stream().add_elements([chunk(0)]).add_elements([chunk(1, 2)]).add_elements([chunk(3)])
    run(added.add_elements([chunk(4)]).advance_watermark_to_infinity())
    assert found == [("in/0", [0, 1, 2, 3]), ("in/0", [4])], "the last one left when there was no more to come"


def test_partitions_are_never_mixed(found: Found) -> None:
    added = stream().add_elements([chunk(0, 1), chunk(0, 1, partition=1)]).add_elements([chunk(2, 3, partition=1)])
    run(added.advance_watermark_to_infinity())
    assert found == [("in/1", [0, 1, 2, 3]), ("in/0", [0, 1])]


def test_nobody_waits_longer_than_allowed(found: Found) -> None:
    """Processing time alone lets a part of a batch go; what comes afterwards starts to wait anew."""
    added = wait(stream().add_elements([chunk(0)]), WAIT_S / 2).add_elements([chunk(1)])
    run(wait(added, WAIT_S / 2).add_elements([chunk(2)]).advance_watermark_to_infinity())
    assert found == [("in/0", [0, 1]), ("in/0", [2])]


def test_the_timer_of_a_batch_that_was_filled_sends_nothing_twice(found: Found) -> None:
    """It is cleared. A runner that fires it all the same (this one does) only sends the next batch off early."""
    added = wait(stream().add_elements([chunk(0)]).add_elements([chunk(1, 2, 3)]), WAIT_S / 2).add_elements([chunk(4)])
    run(wait(added, WAIT_S / 2).add_elements([chunk(5)]).advance_watermark_to_infinity())
    assert found[0] == ("in/0", [0, 1, 2, 3])
    assert [offset for _, offsets in found[1:] for offset in offsets] == [4, 5]


def test_a_watermark_sends_nothing_off_and_drops_nothing(found: Found) -> None:
    """Records far behind it are batched like any other."""
    added = stream().advance_watermark_to(1_000_000).add_elements([TimestampedValue(chunk(0), 5)])
    added = added.advance_watermark_to(2_000_000).add_elements([TimestampedValue(chunk(1), 1_999_999)])
    run(added.add_elements([TimestampedValue(chunk(2, 3), 1)]).advance_watermark_to_infinity())
    assert found == [("in/0", [0, 1, 2, 3])]


def test_without_a_wait_every_chunk_goes_at_once() -> None:
    stage = BatchChunks(SIZE, 0.0)

    class Empty:
        def read(self) -> None:
            return None

    assert list(stage.process(chunk(0), None, Empty(), Empty(), None, None)) == [chunk(0)[1]]


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(served=SIGNATURE)


@pytest.mark.parametrize("late", [False, True])
def test_requests_keep_to_windows_and_late_records_are_scored(model: FakeModel, found: Found, late: bool) -> None:
    """``--window_seconds`` behind this stage: one request a window, whatever the watermark says; nobody is left out."""
    times = {0: 1_000, 1: 61_000, 2: 2_000, 3: 62_000}
    added = stream()
    for offset, at_ms in times.items():
        added = added.advance_watermark_to(100 + offset) if late else added
        added = added.add_elements([TimestampedValue(chunk(offset, timestamp_ms=at_ms), at_ms / 1000)])

    def score(batches: Any) -> Any:
        predict = PredictConfig(uri, ModelMetadata("fake", "7", SIGNATURE), batch_max_size=64)
        return (
            batches
            | beam.ParDo(DecodeChunks(DecodeConfig(SIGNATURE, window_seconds=60.0))).with_output_types(DecodedChunk)
            | beam.ParDo(PredictChunks(predict)).with_output_types(PredictedChunk)
        )

    with serving(model) as uri:
        run(added.advance_watermark_to_infinity(), score, note_answers)
    assert sorted(found) == [("answer", [0, 2]), ("answer", [1, 3])]
    assert sorted(call.rows for call in model.calls) == [2, 2]
