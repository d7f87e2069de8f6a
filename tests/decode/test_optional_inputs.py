"""Null in an input that a record need not have: absence in Avro, and in JSON where ``|default(null)`` says so."""

from __future__ import annotations

import pytest

from tests.decode.test_decoder import outcomes, records, signature
from tests.formats.test_avro import bare, schema_of
from transforms.decode.decoder import Decoder
from transforms.formats.options import FormatOptions
from transforms.formats.sources import parse_features
from transforms.types import TensorSpec


def test_a_null_is_left_out_by_the_cure_that_its_dead_letter_names() -> None:
    """Only of an input that may be left out; to others, and to a place in a template, null is null."""
    inputs = {"x": TensorSpec("float32", (-1,)), "t": TensorSpec("float32", (-1,), has_default=True)}
    formats = FormatOptions(features=parse_features(["x=$.x|default(null),t=$.t|default(null)"]))
    decoder = Decoder(signature(inputs), formats=formats)
    values = records(b'{"x":1,"t":null}', b'{"x":2}', b'{"x":3,"t":4}', b'{"x":null,"t":4}')
    chunk = decoder.decode(values)
    assert [sorted(segment.tensors) for segment in chunk.segments] == [["x"], ["t", "x"]]
    assert outcomes(chunk) == [[0, 1], [2]]
    assert "came null" in chunk.failures[3].message
    judged = decoder.judge(values)
    assert judged is not None
    assert judged.at_fault() == {3}


@pytest.mark.parametrize("features", [[], ["x=$.x"], ["t=$.t"]], ids=["none", "of x", "of t"])
def test_in_avro_null_is_absence_of_an_optional_input(features: list[str]) -> None:
    """A field of an Avro schema is in every record."""
    inputs = {"x": TensorSpec("float64", (-1,)), "t": TensorSpec("float64", (-1,), has_default=True)}
    schema = schema_of(x=["null", "double"], t=["null", "double"])
    formats = FormatOptions(avro_schema=schema, features=parse_features(features), pass_through=(("t", "$.t"),))
    decoder = Decoder(signature(inputs), "avro", formats=formats)
    data = [{"x": 1.0, "t": None}, {"x": 2.0, "t": 5.0}, {"x": None, "t": 5.0}, {"x": 4.0, "t": None}]
    chunk = decoder.decode(values := records(*[bare(schema, datum) for datum in data]))
    assert [sorted(segment.tensors) for segment in chunk.segments] == [["x"], ["t", "x"]]
    assert outcomes(chunk) == [[0, 3], [1]]
    assert "came null; |default(JSON) behind its path" in chunk.failures[2].message
    assert chunk.carried is not None
    assert chunk.carried[:2] == [b'"t":null', b'"t":5.0']
    judged = decoder.judge(values)
    assert judged is not None
    assert judged.at_fault() == {2}


def test_own_code_sees_null() -> None:
    schema = schema_of(x="double", t=["null", "double"])
    inputs = {"x": TensorSpec("float64", (-1,)), "t": TensorSpec("float64", (-1,), has_default=True)}
    formats = FormatOptions(avro_schema=schema, preprocess=lambda document: {"x": len(document)})
    chunk = Decoder(signature(inputs), "avro", formats=formats).decode(records(bare(schema, {"x": 1.0, "t": None})))
    assert chunk.segments[0].tensors["x"].tolist() == [2.0]
