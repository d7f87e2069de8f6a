"""``tf.Example`` records, with TensorFlow as the judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lazily import tensorflow as tf
from transforms.clients.wire.tensorflow.example import build_example, parse_example

features = st.one_of(
    st.lists(st.binary(max_size=9), min_size=1, max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
)


@given(st.dictionaries(st.text(max_size=6), features, max_size=4))
@settings(max_examples=60, deadline=None)
def test_there_and_back_by_way_of_tensorflow(values: dict[str, list[Any]]) -> None:
    record = tf.train.Example.FromString(build_example(values)).SerializeToString()
    assert parse_example(record) == values


def test_scalars_arrays_text_and_mixed_numbers() -> None:
    record = build_example({"i": 3, "f": np.float32(0.5), "s": "ä", "t": True, "m": [1, 2.5], "a": np.arange(3), "none": []})
    assert parse_example(record) == {
        "i": [3],
        "f": [0.5],
        "s": ["ä".encode()],
        "t": [1],
        "m": [1.0, 2.5],
        "a": [0, 1, 2],
        "none": [],
    }


@pytest.mark.parametrize("value", [2**63, 1e39, [1, b"x"], None, [[1]], {"a": 1}, object()])
def test_what_has_no_place_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match="feature speed: "):
        build_example({"speed": value})


def test_what_is_no_example_is_refused_without_quoting_it() -> None:
    with pytest.raises(ValueError, match="not a serialized") as caught:
        parse_example(b'{"secret": 1}')
    assert "secret" not in str(caught.value)
