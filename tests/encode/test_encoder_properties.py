"""Encoding, as properties: exact numbers, rows that don't affect each other, every record once and in order."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transforms.encode.encoder import Encoder
from transforms.encode.labels import top_indexes
from transforms.formats.json_columns import column_texts
from transforms.types import AnsweredSegment, Failure, KafkaRecord, PredictedChunk

SLOW = (HealthCheck.too_slow,)  # says how loaded the machine is, not what is wrong
DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
SHAPES = ((), (1,), (3,), (2, 2), (1, 1, 2), (0,), (2, 0))
NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def strict(text: bytes) -> Any:
    """Parses JSON as RFC 8259 has it: a bare NaN is refused."""

    def refuse(literal: str) -> None:
        raise AssertionError(f"{literal} is no JSON")

    return json.loads(text, parse_constant=refuse)


def numbers(value: Any) -> Any:
    """The names of NaN and infinities as floats again."""
    if isinstance(value, list):
        return [numbers(v) for v in value]
    return NAMES[value] if isinstance(value, str) else value


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Any bits of any dtype and shape, with NaN, infinities and subnormal numbers among them."""
    dtype, rows = np.dtype(draw(st.sampled_from(DTYPES))), draw(st.integers(1, 4))
    shape = (rows, *draw(st.sampled_from(SHAPES)))
    size = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        data = bytes(b & 1 for b in data)
    array = np.frombuffer(data, dtype).reshape(shape).copy()
    if dtype.kind == "f" and array.size and draw(st.booleans()):
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from((np.nan, np.inf, -np.inf, 0.1, -0.0)))
    return array


@settings(max_examples=800, deadline=None, suppress_health_check=SLOW)
@given(arrays())
def test_numbers_survive_to_the_bit(array: np.ndarray) -> None:
    """Short digits must still be the same number: array → JSON → array is the identity (of NaNs there is one)."""
    texts, errors = column_texts("y", array)
    assert errors == {}
    assert len(texts) == len(array)
    back = np.array([numbers(strict(text)) for text in texts], array.dtype).reshape(array.shape)
    if array.dtype.kind == "f":
        np.testing.assert_array_equal(back, array)
        assert np.signbit(back[~np.isnan(array)]).tolist() == np.signbit(array[~np.isnan(array)]).tolist()
    else:
        assert back.tobytes() == array.tobytes()


@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
@given(arrays())
def test_a_row_is_written_as_if_it_were_alone(array: np.ndarray) -> None:
    """The text of the whole array is cut between rows, never within one."""
    texts, _ = column_texts("y", array)
    assert texts == [column_texts("y", array[i : i + 1])[0][0] for i in range(len(array))]


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
rows_of_lists = st.lists(
    st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2), max_leaves=6
    ),
    max_size=5,
)


@settings(max_examples=500, deadline=None, suppress_health_check=SLOW)
@given(rows_of_lists, st.sampled_from(("y", "y_bytes")), st.sampled_from((None, "float32")))
def test_any_value_is_strict_json_or_an_error_of_its_row(column: list[Any], name: str, dtype: str | None) -> None:
    texts, errors = column_texts(name, column, dtype)
    assert len(texts) == len(column)
    for i, (text, value) in enumerate(zip(texts, column, strict=True)):
        if i in errors:
            assert text == b""
            assert "complex" in repr(column_texts(name, [value], dtype)[1])
        else:
            strict(text)
            assert column_texts(name, [value], dtype) == ([text], {})


@settings(max_examples=400, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_the_best_are_found_as_a_plain_sort_finds_them(data: st.DataObject) -> None:
    """Ties by index: also where a partition is used, and with ties at its border."""
    rows, classes = data.draw(st.integers(1, 4)), data.draw(st.sampled_from((1, 2, 5, 64, 65, 200)))
    k = data.draw(st.integers(1, classes))
    few = data.draw(st.integers(1, 300))
    seed = data.draw(st.integers(0, 2**32 - 1))
    scores = np.random.default_rng(seed).integers(-few, few, (rows, classes)).astype(np.float32) / few
    scores[scores > 0.95] = np.inf
    expected = [sorted(range(classes), key=lambda c: (-row[c], c))[:k] for row in scores]
    assert top_indexes(scores, k).tolist() == expected


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_every_record_is_written_once_and_in_order(data: st.DataObject) -> None:
    """inputs = predictions + dead letters, whatever the segments and failures."""
    n = data.draw(st.integers(0, 12))
    records = [KafkaRecord("in", i % 3, i, i, None, b"%d" % i, []) for i in range(n)]
    owners = data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))
    bad = set(data.draw(st.lists(st.integers(0, 11))))
    failures = {row: Failure("predict", "X", "x") for row in range(n) if owners[row] < 0}
    answers = []
    for owner in (2, 0, 1):
        rows = [row for row in range(n) if owners[row] == owner]
        answers.append(AnsweredSegment(rows, {"y": [1j if row in bad else row for row in rows]}, "1", 1.0, 1))
    written = Encoder("out", "dlq", "m").encode(PredictedChunk(records, answers, failures))
    assert [record.source for record in written] == [(r.topic, r.partition, r.offset) for r in records]
    for row, record in enumerate(written):
        failed = row in failures or row in bad
        assert record.topic == ("dlq" if failed else "out")
        assert record.value == (b"%d" % row if failed else b'{"y":%d}' % row)
