"""The shares of the memory, what a record counts for, and where a poll is cut into chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.memory import (
    BASE_MB,
    DEFAULT_MB,
    LEAST_MB,
    MB,
    RECORD_BYTES,
    VALUE_BYTES,
    Memory,
    cut,
    output_bytes,
    records_bytes,
    runs,
    sizes_of,
    values_bytes,
)
from transforms.types import KafkaRecord, OutputRecord


def test_the_default_is_the_flags() -> None:
    assert Memory() == Memory.of_process(DEFAULT_MB)


def test_the_rest_of_the_process_is_for_records() -> None:
    assert Memory.of_process(BASE_MB + 100).budget == 100 * MB
    assert Memory.of_process(1) == Memory.of_process(LEAST_MB), "never nothing"


@given(st.integers(LEAST_MB, 100_000))
def test_what_is_in_memory_at_once_is_within_the_budget(total_mb: int) -> None:
    """The queue, an answer that came on top, a poll, what is in flight with its copies, and a chunk as it is parsed."""
    memory = Memory.of_process(total_mb)
    assert memory.queue + 2 * memory.fetch + 3 * memory.in_flight + 5 * memory.request <= memory.budget
    assert 4 * memory.request <= memory.in_flight, "several requests are in flight at a time, else the server would wait"
    assert memory.fetch <= memory.bundle, "a bundle has room for a poll"


def test_a_record_counts_with_all_that_it_carries() -> None:
    bare, full = sizes_of(
        [KafkaRecord("t", 0, 0, 0, None, None, []), KafkaRecord("t", 0, 0, 0, b"key", bytes(1_000), [("name", bytes(500))])]
    )
    assert bare == RECORD_BYTES
    assert full >= RECORD_BYTES + 3 + 1_000 + 4 + 500


@given(st.lists(st.tuples(*[st.none() | st.binary(max_size=9)] * 3), max_size=20), st.integers(1, 9), st.integers(1, 4_000))
def test_records_together_count_as_each_alone(
    contents: list[tuple[bytes | None, bytes | None, bytes | None]], most: int, most_bytes: int
) -> None:
    records = [
        KafkaRecord("t", 0, at, 0, key, value, [] if header is None else [("name", header)])
        for at, (key, value, header) in enumerate(contents)
    ]
    sizes = sizes_of(records)
    assert records_bytes(records) == sum(sizes)
    found, total = cut(records, most, most_bytes)
    assert total == sum(sizes)
    assert found == list(runs(sizes, most, most_bytes))


def test_an_output_counts_likewise() -> None:
    output = OutputRecord("t", b"key", bytes(1_000), [("name", b"")], 0, ("t", 0, 0), None)
    assert output_bytes([output, output]) == 2 * output_bytes([output]) > 2 * (RECORD_BYTES + 1_003)


@pytest.mark.parametrize(
    ("values", "least"),
    [
        (np.zeros((10, 100), np.float32), 4_000),
        (np.array([b"x" * 100, b"y" * 100], dtype=object), 200),
        (["x" * 100, "y" * 100], 200),
        ([[0.5] * 100, [0.5] * 100], 200 * VALUE_BYTES),
        ([{"a": "x" * 100}, {"a": None}], 100),
    ],
)
def test_an_answer_counts_whatever_its_form(values: object, least: int) -> None:
    assert least <= values_bytes(values) <= 2 * least + 6 * VALUE_BYTES  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 10), st.integers(1, 100))
def test_runs_are_as_long_as_they_may_be(sizes: list[int], most: int, most_bytes: int) -> None:
    found = list(runs(sizes, most, most_bytes))
    assert [at for start, end in found for at in range(start, end)] == list(range(len(sizes))), "each item once, in order"
    for start, end in found:
        assert 0 < end - start <= most
        assert sum(sizes[start:end]) <= most_bytes or end - start == 1
        whole = end == len(sizes) or end - start == most
        assert whole or sum(sizes[start : end + 1]) > most_bytes
