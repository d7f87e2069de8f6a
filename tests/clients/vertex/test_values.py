"""Instances and predictions: against protobuf's own JSON mapping, exact floats, and what can't be sent."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from transforms.clients.vertex.instances import check, instances_of
from transforms.clients.vertex.values import decode, encode

EXACT = 2**53
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-EXACT, EXACT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
documents = st.recursive(
    leaves | st.lists(st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=5),
    max_leaves=20,
)


@given(documents)
def test_values_are_those_of_protobufs_own_mapping(document: Any) -> None:
    message = Value.FromString(encode(document))
    assert message == json_format.ParseDict(document, Value())
    assert decode(message) == document
    assert decode(message) == json_format.MessageToDict(message)


@pytest.mark.parametrize("document", [["7 bytes"], ["7 bytes", 1.5], [[], 1, []], [], [0], [-0.0, 5e-324]])
def test_lists_that_look_like_numbers_on_the_wire(document: list[Any]) -> None:
    """A number in a list takes 11 bytes, and so do 7 bytes of text."""
    assert decode(Value.FromString(encode(document))) == document


def test_whole_numbers_come_back_whole() -> None:
    """7, not 7.0: a class index is the same over gRPC and over REST."""
    read = decode(Value.FromString(encode([7.0, 0.5, -3, 1e300, [2.0, 1], {"a": 1.0}])))
    assert json.dumps(read) == '[7, 0.5, -3, 1e+300, [2, 1], {"a": 1}]'


def test_numbers_that_json_lacks_are_read() -> None:
    """Over gRPC a container's NaN may arrive; the encoder knows how to write it."""
    message = Value()
    message.list_value.values.add(number_value=math.nan)
    message.list_value.values.add(number_value=-math.inf)
    read = decode(message)
    assert math.isnan(read[0])
    assert read[1] == -math.inf
    assert decode(Value()) is None


@pytest.mark.parametrize("value", [b"raw", {1: 2}, [object()], {"a": {"b": [b""]}}])
def test_what_has_no_form(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


@given(st_numpy.arrays(np.float32, (2, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_every_float32_arrives_exactly(x: np.ndarray) -> None:
    instances = instances_of({"x": x})
    for sent in (json.loads(orjson.dumps(instances)), [decode(Value.FromString(encode(i))) for i in instances]):
        np.testing.assert_array_equal(np.array([row["x"] for row in sent], np.float64).astype(np.float32), x)


def objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def test_instances() -> None:
    x = np.array([[1.5, 2], [3, 4]], np.float32)
    raw = np.array([[b"\xff"], [b""]], dtype=object)
    assert instances_of({"x": x, "image": raw}) == [
        {"x": [1.5, 2], "image": [{"b64": "/w=="}]},
        {"x": [3, 4], "image": [{"b64": ""}]},
    ]
    # records as they came, of a server whose signature nobody knows
    assert instances_of({"instances": objects([1, None], {"a": [{"b": 1}]}, "text")}) == [
        [1, None],
        {"a": [{"b": 1}]},
        "text",
    ]
    assert instances_of({"instances": objects(b"\xff", [b"a", 1])}) == [{"b64": "/w=="}, [{"b64": "YQ=="}, 1]]
    assert instances_of({"instances": objects(np.float32(0.5), np.array([1, 2]))}) == [0.5, [1, 2]]
    # an object whose only key is b64 is data: the sole input of that name goes bare
    assert instances_of({"b64": np.array([1.0, 2.0])}) == [1.0, 2.0]
    assert instances_of({"x": np.array(3, np.int64)}) == [{"x": 3}]


@pytest.mark.parametrize(
    ("instance", "told"),
    [
        ({"x": [1.0, math.nan]}, r"instance\[1\]\.x\[1\] is NaN or infinite"),
        ({"a": {"b": [[1], [2.5, -math.inf]]}}, r"instance\[1\]\.a\.b\[1\]\[1\] is NaN or infinite"),
        (math.inf, r"instance\[1\] is NaN or infinite"),
        ({"id": 2**53 + 1}, r"instance\[1\]\.id is an integer beyond 2\*\*53"),
        ([1, 2, -(2**53) - 1], r"instance\[1\]\[2\] is an integer beyond"),
        ([10**400], r"instance\[1\]\[0\] is an integer beyond"),
    ],
)
def test_what_would_not_arrive_as_it_is(instance: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check([{"x": 1}, instance])


def test_what_does() -> None:
    check([{"x": [1.0, 2], "s": ["a", None, True], "n": [], "big": 2**60, "most": [2**53, -(2**53)]}, [[0.5]], "t", None])
