"""What an answer says of each row, headers or a failure, stays with its row: through batches, outcomes and records."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.encode.encoder import Encoder
from transforms.outcomes import FailedElement, Prediction, outcomes_of
from transforms.predict.batching import Batcher, PendingChunk, RowsResult
from transforms.predict.spans import with_attempts
from transforms.types import DecodedChunk, Failure, KafkaRecord, Segment


def header(number: int) -> tuple[tuple[str, bytes], ...]:
    return (("inference.tokens.prompt", b"%d" % number),)


def pending(start: int, rows: int) -> PendingChunk:
    records = [KafkaRecord("t", 0, start + row, None, None, b"", []) for row in range(rows)]
    x = np.arange(start, start + rows, dtype=np.float32)
    return PendingChunk.of(DecodedChunk(records, [Segment("k", range(rows), {"x": x})], {}))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 7), st.sets(st.integers(0, 24)), st.data())
def test_each_row_keeps_its_own(sizes: list[int], size: int, cut: set[int], data: st.DataObject) -> None:
    """However the rows of chunks share requests, and whichever of them fail."""
    starts = list(itertools.accumulate([0, *sizes]))
    chunks = [pending(start, rows) for start, rows in zip(starts, sizes, strict=False)]
    batcher = Batcher(size)
    batches = [
        batch for chunk in chunks for s in chunk.decoded.segments for batch in batcher.add(chunk, s)
    ] + batcher.flush()
    for batch in batches:
        numbers = batch.inputs()["x"].astype(int).tolist()
        failures = {row: Failure("predict", "Cut", str(number)) for row, number in enumerate(numbers) if number in cut}
        outputs: dict[str, Any] = {"y": np.array(numbers), "list": list(numbers)}
        headers = [header(number) for number in numbers]
        result = RowsResult(0, batch.rows, 1, outputs, "v", row_headers=headers, failures=failures)
        asked = np.array(data.draw(st.lists(st.integers(1, 3), min_size=batch.rows, max_size=batch.rows)))
        batch.results = with_attempts([result], asked) if len(set(asked)) > 1 else [result]
        batch.settle()
    found = []
    for chunk, rows in zip(chunks, sizes, strict=True):
        assert chunk.waiting == 0
        found += outcomes_of(list(range(rows)), chunk.chunk, "m")
        written = Encoder("out", "dead", "m").encode(chunk.chunk)
        assert [record.source[2] for record in written] == [record.offset for record in chunk.decoded.records]
    for number, outcome in enumerate(found):
        if number in cut:
            assert isinstance(outcome, FailedElement)
            assert (outcome.failure.error_class, outcome.failure.message) == ("Cut", str(number))
            assert outcome.failure.attempts >= 1
        else:
            assert isinstance(outcome, Prediction)
            assert (outcome.outputs["y"], outcome.outputs["list"]) == (number, number)
            assert outcome.headers == header(number)


def test_headers_of_rows_are_written_behind_those_of_the_answer() -> None:
    chunk = pending(5, 2)
    [batch] = list(Batcher(2).add(chunk, chunk.decoded.segments[0]))
    facts = {"headers": (("of.all", b"a"),), "row_headers": [header(5), header(6)]}
    batch.results = [RowsResult(0, 2, 1, {"y": np.array([5, 6])}, "v", **facts)]  # type: ignore[arg-type]
    batch.settle()
    written = Encoder("out", "dead", "m").encode(chunk.chunk)
    assert [record.headers[-2:] for record in written] == [[("of.all", b"a"), *header(5)], [("of.all", b"a"), *header(6)]]
    assert [json.loads(record.value or b"") for record in written] == [{"y": 5}, {"y": 6}]


def test_an_earlier_pipelines_headers_are_replaced() -> None:
    chunk = pending(5, 1)
    chunk.decoded.records[0].headers.append(("inference.tokens.prompt", b"999"))
    [batch] = list(Batcher(1).add(chunk, chunk.decoded.segments[0]))
    batch.results = [RowsResult(0, 1, 1, {"y": np.array([5])}, "v", row_headers=[header(5)])]
    batch.settle()
    [written] = Encoder("out", "dead", "m").encode(chunk.chunk)
    assert [value for name, value in written.headers if name == "inference.tokens.prompt"] == [b"5"]
