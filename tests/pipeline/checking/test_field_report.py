"""The table of fields ↔ inputs: what is seen, what fits, and that no value is told unless it may be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.checking.field_report import FieldRow, expected_rows, sampled_rows
from tests.fake_model import signature
from transforms.decode.decoder import Decoder
from transforms.types import METHOD_CLASSIFY, METHOD_PREDICT, KafkaRecord, Signature, TensorSpec

TWO = Signature(
    "s",
    METHOD_PREDICT,
    {
        "amount": TensorSpec("float32", (-1,)),
        "vector": TensorSpec("int64", (-1, 3)),
        "mode": TensorSpec("string", (-1,), has_default=True),
    },
    {},
)


def table(served: Signature, values: list[Any], show_values: bool = False) -> list[FieldRow]:
    raw = [value if value is None or isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    records = [KafkaRecord("t", 0, offset, None, None, value, []) for offset, value in enumerate(raw)]
    decoder = Decoder(served)
    if decoder.input_format == "json":
        decoder = Decoder(served, keep_documents=True)
    return sampled_rows(served, decoder.input_format, records, decoder.decode(records), show_values)


def told(rows: list[FieldRow]) -> list[tuple[str, str, str, int]]:
    return [(row.field, row.sample, row.verdict, row.wrong) for row in rows]


def test_what_fits() -> None:
    rows = table(
        TWO, [{"amount": 1, "vector": [1, 2, 3], "id": "secret"}, {"amount": 2.5, "vector": [4, 5, 6], "mode": "m"}]
    )
    assert [(row.field, row.dtype, row.shape) for row in rows] == [
        ("amount", "float32", "one"),
        ("vector", "int64", "[3]"),
        ("mode", "string", "one"),
        ("id", "", ""),
    ]
    assert told(rows) == [
        ("amount", "an integer (1), a number (1)", "fits", 0),
        ("vector", "a list of 3", "fits", 0),
        ("mode", "a string", "fits (left out in 1 of 2, where the model's own default counts)", 0),
        ("id", "a string", "not an input: ignored", 0),
    ]


def test_what_does_not_fit_is_named_with_what_it_might_have_meant() -> None:
    rows = table(TWO, [{"amounts": 1, "vector": [1, 2]}, {"amounts": None, "vector": [1, 2, 3]}, None, b"{"])
    assert told(rows)[:2] == [
        ("amount", "", "missing in 2 of 2; did you mean 'amounts'?", 2),
        ("vector", "a list of 2 (1), a list of 3 (1)", "vector: expected int64[3], came a list of 2 (1 of 2)", 1),
    ]
    assert rows[3].sample == "an integer (1), null (1)"


@pytest.mark.parametrize("value", [{"amount": 77123, "vector": [88123] * 3, "x": "secret"}, [77123], "77123", {"x": 88123}])
def test_no_value_is_told_unless_it_may_be(value: Any) -> None:
    text = str([(row.sample, row.verdict, row.value) for row in table(TWO, [value])])
    assert "77123" not in text
    assert "88123" not in text
    shown = table(TWO, [{"amount": 77123, "vector": [1, 2, 3], "x": "y" * 100}], show_values=True)
    assert [row.value for row in shown] == ["77123", "[1,2,3]", "", '"' + "y" * 59 + "…"]


def test_a_model_of_one_input_takes_bare_values() -> None:
    assert told(table(signature((-1, 2)), [[1, 2], {"x": [3, 4]}, {"b64": "AA=="}])) == [
        ("x", "a list of 2 (2), a b64 object (1)", "x: expected float32[2], came a b64 object (1 of 3)", 1)
    ]


def test_a_record_that_is_no_object_lacks_every_input() -> None:
    assert [row.verdict for row in table(TWO, [5])][:2] == ["missing in 1 of 1"] * 2


def test_whole_records() -> None:
    """As bytes, as tf.Example, and to a server that publishes no signature."""
    one = table(signature((-1,), "string"), [b"abc", b"abcdef", None, b""], show_values=True)
    null = "the value is null (a tombstone), so there is nothing to predict from (2 of 4)"
    assert told(one) == [("(record) → x", "0 to 6 bytes, 1 null", null, 2)]
    assert one[0].value == "abc"
    examples = Signature("s", METHOD_CLASSIFY, {"inputs": TensorSpec("string", (-1,))}, {})
    [row] = table(examples, [b"no example"])
    assert (row.dtype, row.wrong) == ("tf.Example", 1)
    unknown = Signature("", METHOD_PREDICT, {}, {}, known=False)
    assert told(table(unknown, [{"a": 1}])) == [
        ("(record)", "8 to 8 bytes", "sent as it is: the server publishes no signature", 0)
    ]


def test_what_is_expected_without_a_sample() -> None:
    assert [(row.field, row.shape, row.verdict) for row in expected_rows(TWO, "json")] == [
        ("amount", "one", ""),
        ("vector", "[3]", ""),
        ("mode", "one", ""),
    ]


def test_a_record_of_thousands_of_fields_does_not_flood_the_table() -> None:
    rows = table(signature((-1,)), [{"x": 1, **{f"f{i}": i for i in range(1000)}}])
    assert len(rows) == 22
    assert rows[-1].field == "… and 980 more"
