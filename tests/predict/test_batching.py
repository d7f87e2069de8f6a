"""Rows of many chunks into requests and back: no key is mixed, no row is lost, doubled or given another's answer."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_model import signature
from transforms.memory import sizes_of
from transforms.predict.batching import Batch, Batcher, PendingChunk, RowsResult, batch_size
from transforms.types import DecodedChunk, Failure, KafkaRecord, PredictedChunk, Segment, TensorSpec


def identity(chunk: int, row: int) -> float:
    """A number that no other row has."""
    return chunk * 1000.0 + row


def decoded(number: int, keys: list[Hashable | None]) -> DecodedChunk:
    """A chunk whose row i has the key ``keys[i]``, or failed to decode if that is ``None``."""
    records = [KafkaRecord("t", 0, number * 1000 + row, None, None, b"", []) for row in range(len(keys))]
    failures = {row: Failure("decode", "X", "") for row, key in enumerate(keys) if key is None}
    segments = []
    for key in dict.fromkeys(key for key in keys if key is not None):
        rows = [row for row, its in enumerate(keys) if its == key]
        x = np.array([[identity(number, row)] for row in rows], np.float32)
        segments.append(Segment(key, rows, {"x": x, "name": np.array([b"%d" % v for v in x[:, 0]], dtype=object)}))
    return DecodedChunk(records, segments, failures)


keys = st.lists(st.sampled_from(("a", "b", "c", None)), max_size=25)


@given(st.lists(keys, max_size=8), st.integers(1, 12), st.data())
def test_every_row_gets_its_own_outcome(chunks: list[list[Hashable | None]], size: int, data: st.DataObject) -> None:
    """Through batching, any cutting of a batch into outcomes (as bisection does), and settling in any order."""
    batcher = Batcher(size)
    pending = []
    batches: list[Batch] = []
    for number, of in enumerate(chunks):
        chunk = decoded(number, of)
        pending.append(PendingChunk.of(chunk))
        for segment in chunk.segments:
            full = list(batcher.add(pending[-1], segment))
            assert all(batch.rows == size for batch in full), "before the end only full batches leave"
            batches += full
    batches += batcher.flush()
    assert batcher.flush() == []
    assert all(0 < batch.rows <= size for batch in batches)
    assert sum(batch.rows for batch in batches) == sum(key is not None for of in chunks for key in of)

    failed = set()
    for batch in data.draw(st.permutations(batches)):
        inputs = batch.inputs()
        assert len(inputs["x"]) == len(inputs["name"]) == batch.rows == sum(len(part.rows) for part in batch.parts)
        numbers = [divmod(int(value), 1000) for value in inputs["x"][:, 0]]
        assert len({chunks[chunk][row] for chunk, row in numbers}) == 1, "one key a batch"
        cuts = sorted({0, batch.rows, *data.draw(st.sets(st.integers(0, batch.rows), max_size=4))})
        for start, stop in itertools.pairwise(cuts):
            if data.draw(st.booleans()):
                failed |= set(numbers[start:stop])
                batch.results.append(RowsResult(start, stop - start, 2, failure=Failure("predict", "Y", "", 2)))
            else:
                outputs = {"y": 2 * inputs["x"][start:stop], "list": inputs["name"][start:stop].tolist()}
                batch.results.append(RowsResult(start, stop - start, 3, outputs, "7", 1.5))
        batch.settle()

    for number, (of, one) in enumerate(zip(chunks, pending, strict=True)):
        assert one.waiting == 0
        check(one.chunk, number, of, failed)


def check(chunk: PredictedChunk, number: int, of: list[Hashable | None], failed: set[tuple[int, int]]) -> None:
    found: dict[int, object] = {}
    for row, failure in chunk.failures.items():
        assert failure.stage == ("decode" if of[row] is None else "predict")
        assert (of[row] is None) or (number, row) in failed
        found[row] = failure
    for answer in chunk.answers:
        assert (answer.version, answer.latency_ms, answer.attempts) == ("7", 1.5, 3)
        assert len(answer.rows) == len(answer.outputs["y"]) == len(answer.outputs["list"])
        for row, y, name in zip(answer.rows, answer.outputs["y"], answer.outputs["list"], strict=True):
            assert row not in found
            assert y[0] == 2 * identity(number, row)
            assert name == b"%d" % identity(number, row)
            found[row] = y
    assert sorted(found) == list(range(len(of)))


def test_a_chunk_without_rows_to_send_waits_for_nothing() -> None:
    assert PendingChunk.of(decoded(0, [None, None])).waiting == 0
    assert PendingChunk.of(decoded(0, [])).waiting == 0


def test_a_segment_as_large_as_a_batch_is_not_copied() -> None:
    chunk = decoded(0, ["a"] * 4)
    [batch] = Batcher(4).add(PendingChunk.of(chunk), chunk.segments[0])
    assert batch.inputs()["x"] is chunk.segments[0].tensors["x"]


def test_rows_of_several_chunks_share_a_request() -> None:
    batcher, pending = Batcher(5), []
    for number in range(2):
        chunk = decoded(number, ["a"] * 3)
        pending.append(PendingChunk.of(chunk))
        batches = list(batcher.add(pending[-1], chunk.segments[0]))
        assert len(batches) == number
    assert batches[0].inputs()["x"].ravel().tolist() == [0, 1, 2, 1000, 1001]
    [rest] = batcher.flush()
    assert rest.inputs()["x"].ravel().tolist() == [1002]
    for batch in (*batches, rest):
        batch.results = [RowsResult(0, batch.rows, 1, {"y": batch.inputs()["x"]}, "1")]
        batch.settle()
    assert [one.waiting for one in pending] == [0, 0]


def test_the_failures_of_the_decoded_chunk_are_not_touched() -> None:
    """A bundle that is begun again decodes again, but what was handed over must not change under anybody's hands."""
    chunk = decoded(0, [None, "a"])
    pending = PendingChunk.of(chunk)
    [batch] = Batcher(1).add(pending, chunk.segments[0])
    batch.results = [RowsResult(0, 1, 1, failure=Failure("predict", "Y", "", 1))]
    batch.settle()
    assert list(pending.chunk.failures) == [0, 1]
    assert list(chunk.failures) == [0]


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ([(-1, 3)], 64),
        ([(8, 3)], 8),
        ([None], 64),
        ([()], 1),
        ([(-1, 3), ()], 1),
        ([(8, 3), ()], 1),
        ([(), (8, 3)], 1),
        ([(-1,), (16,)], 16),
    ],
)
def test_how_many_rows_a_request_may_have(shapes: list[tuple[int, ...] | None], size: int) -> None:
    inputs = {f"i{number}": TensorSpec("float32", shape) for number, shape in enumerate(shapes)}
    assert batch_size(dataclasses.replace(signature(), inputs=inputs), 64) == size


@given(
    st.lists(st.lists(st.integers(0, 500), min_size=1, max_size=12), max_size=6), st.integers(1, 8), st.integers(400, 3_000)
)
def test_a_batch_of_several_rows_has_no_more_bytes_than_it_may(chunks: list[list[int]], size: int, most: int) -> None:
    batcher = Batcher(size, most)
    batches: list[Batch] = []
    rows = []
    for number, lengths in enumerate(chunks):
        records: list[KafkaRecord] = [KafkaRecord("t", number, at, 0, None, bytes(n), []) for at, n in enumerate(lengths)]
        x = np.array([[number, at] for at in range(len(lengths))], np.float32)
        pending = PendingChunk.of(DecodedChunk(records, [Segment("k", range(len(lengths)), {"x": x})], {}))
        assert pending.held_bytes == sum(sizes_of(records))
        most_batches = len(records) + 1  # a fault yields empty ones for ever
        batches += itertools.islice(batcher.add(pending, pending.decoded.segments[0]), most_batches)
        rows += x.tolist()
    batches += batcher.flush()
    assert [row for batch in batches for row in batch.inputs()["x"].tolist()] == rows, "every row once, in order"
    for batch in batches:
        total = sum(sizes_of(part.pending.decoded.records[row] for part in batch.parts for row in part.rows))
        assert 0 < batch.rows <= size
        assert total <= most or batch.rows == 1


@pytest.mark.parametrize(("flag", "server", "size"), [(64, None, 64), (64, 8, 8), (4, 8, 4)])
def test_a_server_may_take_fewer_rows_than_the_flag_says(flag: int, server: int | None, size: int) -> None:
    assert batch_size(signature(), flag, server) == size
