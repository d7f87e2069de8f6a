"""Integers of any length in JSON: read and written with all digits, and nothing else than json and orjson do."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.exact_json import dumps_exactly, has_long_integer, loads_all_exactly, loads_exactly

EDGES = (2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**19, 10**20, 10**300, -(10**300))
integers = st.integers() | st.sampled_from(EDGES) | st.integers(-(10**40), 10**40)
documents = st.recursive(
    integers | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.none() | st.booleans() | integers.map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def as_text(value: Any) -> str:
    """Types matter: ``1 == 1.0``."""
    return json.dumps(value, sort_keys=True)


@given(documents, st.sampled_from((None, 1)))
@example([12345678901234567890123, 0.1], None)
@example({"a": "12345678901234567890123"}, None)
def test_what_is_read_is_what_json_reads(document: Any, indent: int | None) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    assert as_text(loads_exactly(text.encode())) == as_text(json.loads(text))


@given(st.lists(documents))
def test_many_are_read_as_each_alone(many: list[Any]) -> None:
    texts = [json.dumps(document).encode() for document in many]
    assert as_text(loads_all_exactly(texts)) == as_text([loads_exactly(text) for text in texts])


def test_many_that_are_large_are_looked_at_in_pieces() -> None:
    texts = [b'{"text": "%b", "n": %d}' % (b"x" * 5_000, 10**19 + 10**20 * (number == 77)) for number in range(100)]
    assert [document["n"] for document in loads_all_exactly(texts)] == [10**19] * 77 + [10**19 + 10**20] + [10**19] * 22
    assert loads_all_exactly([]) == []


@given(documents)
def test_what_is_written_is_read_again(document: Any) -> None:
    assert as_text(json.loads(dumps_exactly(document))) == as_text(document)


@pytest.mark.parametrize("number", EDGES)
def test_the_test_finds_exactly_what_orjson_would_round(number: int) -> None:
    text = b'{"a": [%d]}' % number
    assert has_long_integer(text) or orjson.loads(text)["a"] == [number]
    assert loads_exactly(text)["a"][0] == number
    assert type(loads_exactly(text)["a"][0]) is int


@pytest.mark.parametrize(
    "text",
    [
        b'{"id": "12345678901234567890123"}',
        b"[0.12345678901234567890123]",
        b'{"nanoseconds": 1732900000000000000}',
        b'["9f12345678901234567890123e"]',
        b"[0.00012345678901234567, -0.00012345678901234567, 1234567890.12345678901234567890e-10]",
        b"[-922337203685477580, 9223372036854775808]",
    ],
)
def test_digits_of_texts_and_fractions_are_no_long_integers(text: bytes) -> None:
    """However many there are: a large text is looked at in another way."""
    assert not has_long_integer(text)
    assert not has_long_integer(b"[%b]" % b",".join([text] * 500))


@pytest.mark.parametrize("number", EDGES)
def test_a_long_integer_at_any_place_of_a_large_text(number: int) -> None:
    filling = b"0.00012345678901234567, " * 500
    for text in (b"[%d, %b1]" % (number, filling), b"[%b %d]" % (filling, number), b"[%b[%d], 1]" % (filling, number)):
        assert as_text(loads_exactly(text)) == as_text(json.loads(text))
        assert as_text(loads_all_exactly([text] * 3)) == as_text([json.loads(text)] * 3)


@pytest.mark.parametrize("bad", [b"[%d, NaN]" % 2**70, b"1" * 400, b'[%d, "\\ud800"]' % 2**70, b"[%d" % 2**70, b"\xff" * 30])
def test_what_orjson_does_not_take_raises_value_error(bad: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # orjson's own
        loads_exactly(bad)


@pytest.mark.parametrize("wrong", [{"a": 2**70, "b": object()}, [2**70, "\ud800"], [2**70, b"bytes"]])
def test_what_has_no_form_raises_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        dumps_exactly(wrong)


def test_what_is_nested_too_deeply_raises_type_error() -> None:
    for depth in (300, 100_000):
        nested: Any = 2**70
        for _ in range(depth):
            nested = [nested]
        with pytest.raises(TypeError):
            dumps_exactly(nested)
        while type(nested) is list:  # taken apart here: its destructor would recurse
            nested = nested[0]
