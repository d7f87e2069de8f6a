"""The table of fields ↔ inputs: what is seen, what fits, and that no value is told unless it may be."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import fastavro
import numpy as np
import pytest

from pipeline.checking.field_report import FieldRow, expected_rows, sampled_rows
from tests.fake_model import signature
from transforms.decode.decoder import Decoder
from transforms.formats.options import FormatOptions
from transforms.types import METHOD_CLASSIFY, METHOD_PREDICT, KafkaRecord, Signature, TensorSpec

LOOKUP = "; |lookup(FILE) behind its path in --features makes a number of a category"

NULL = "the value is null (a tombstone), so there is nothing to predict from"

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


def table(
    served: Signature, values: list[Any], show_values: bool = False, input_format: str = "auto", **options: Any
) -> list[FieldRow]:
    raw = [value if value is None or isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    records = [KafkaRecord("t", 0, offset, None, None, value, []) for offset, value in enumerate(raw)]
    decoder = Decoder(served, input_format, formats=FormatOptions(**options))
    decoded, judged = decoder.decode(records), decoder.judge(records)
    if judged is not None:
        assert judged.at_fault() <= set(decoded.failures)
    return sampled_rows(served, records, decoded, judged, show_values, FormatOptions(**options))


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


def test_each_kind_of_misfit_is_counted_by_itself() -> None:
    """One count for all of them would say that a cure of the first one's helps the others, too."""
    rows = table(TWO, [{"amount": "x"}, {"amount": None}, {"amount": "y"}, {"amount": [1]}, {"amount": {}}, None, b"", b""])
    by_field = {row.field: row for row in rows}
    assert by_field["amount"].wrong == 5
    assert by_field["amount"].verdict.startswith("amount: expected float32, came a string")
    for part in ("(2 of 5); ", "came null", "others (1 of 5)"):
        assert part in by_field["amount"].verdict
    assert by_field["(record)"].wrong == 3
    assert by_field["(record)"].verdict == f"the value is empty (0 bytes) (2 of 8); {NULL} (1 of 8)"


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
    verdict = f"{NULL} (1 of 4); the value is empty (0 bytes) (1 of 4)"
    assert told(one) == [("(record) → x", "0 to 6 bytes, 1 null", verdict, 2)]
    assert one[0].value == "abc"
    examples = Signature("s", METHOD_CLASSIFY, {"inputs": TensorSpec("string", (-1,))}, {})
    [row] = table(examples, [b"no example"])
    assert (row.dtype, row.wrong) == ("tf.Example", 1)
    unknown = Signature("", METHOD_PREDICT, {}, {}, known=False)
    assert told(table(unknown, [{"a": 1}])) == [
        ("(record)", "8 bytes", "sent as it is: the server publishes no signature", 0)
    ]


def test_what_is_expected_without_a_sample() -> None:
    assert [(row.field, row.shape, row.verdict) for row in expected_rows(TWO, True)] == [
        ("amount", "one", ""),
        ("vector", "[3]", ""),
        ("mode", "one", ""),
    ]


def test_every_field_is_judged_beside_another_that_is_at_fault() -> None:
    """In whatever format, with whatever flags: the decoder stops at the first."""
    faulty = {"amount": "secret", "vector": [1, 2, 3.5], "id": 1}
    wrong = [
        ("amount", "a string", f"amount: expected float32, came a string{LOOKUP} (2 of 2)", 2),
        ("vector", "a list of 3", "vector[2]: expected int64, came a number with a fraction (2 of 2)", 2),
        ("mode", "", "fits (left out in 2 of 2, where the model's own default counts)", 0),
    ]
    assert told(table(TWO, [faulty] * 2))[:3] == wrong
    fields = [
        {"name": "amount", "type": "string"},
        {"name": "vector", "type": {"type": "array", "items": "double"}},
        {"name": "id", "type": "long"},
    ]
    schema = {"type": "record", "name": "Row", "fields": fields}
    value = io.BytesIO()
    fastavro.schemaless_writer(value, fastavro.parse_schema(schema), faulty)
    avro = table(TWO, [value.getvalue()] * 2, input_format="avro", avro_schema=json.dumps(schema))
    assert told(avro)[:3] == wrong
    assert told(avro)[3:] == [("id", "an integer", "not an input: ignored", 0)]
    paths = (("amount", "$.in.amount"), ("vector", "$.in.vector|json"), ("mode", "$.in.m"))
    assert told(table(TWO, [{"in": faulty}] * 2, features=paths)) == [
        ("$.in.amount → amount", "a string", f"expected float32, came a string{LOOKUP} (2 of 2)", 2),
        ("$.in.vector|json → vector", "", "json: expected JSON text, came a list of 3 (2 of 2)", 2),
        ("$.in.m → mode", "", "fits (left out in 2 of 2, where the model's own default counts)", 0),
    ]
    assert told(table(TWO, [faulty] * 2, preprocess=lambda record: record)) == wrong
    arrays = table(TWO, [faulty] * 2, preprocess=lambda record: {**record, "vector": np.zeros((2, 3))})
    assert told(arrays)[:2] == [
        ("amount", "a string", "amount: expected float32[], came str192 (2 of 2)", 2),
        ("vector", "an array of float64[2,3]", "vector: expected int64[3], came an array of shape [2,3] (2 of 2)", 2),
    ]


def test_what_no_field_explains_has_a_row_of_its_own() -> None:
    """The record can't be read, a function has failed on it, it can't be passed through, or it has none of the inputs."""
    good = {"amount": 1, "vector": [1, 2, 3]}
    rows = told(table(TWO, [good, None, b"{", good]))
    assert rows[0] == ("amount", "an integer", "fits in 2 of 4; the others fail before it", 0)
    field, _, verdict, wrong = rows[-1]
    assert (field, wrong) == ("(record)", 2)
    assert verdict.startswith(f"{NULL} (1 of 4); the value is not JSON: ")
    assert told(table(TWO, [None]))[0] == ("amount", "", "no record could be read", 0)

    def half(record: dict[str, Any]) -> dict[str, Any]:
        return {} if record.pop("fail", 0) else record

    bad = table(
        TWO, [{**good, "fail": 1}, good], preprocess=lambda record: {"amount": 1 / (1 - record.get("fail", 0)), **good}
    )
    assert [(row.field, row.wrong) for row in bad] == [("amount", 0), ("vector", 0), ("mode", 0), ("(record)", 1)]
    assert "ZeroDivisionError" in bad[-1].verdict
    optional = signature((-1,), "float32")
    optional = dataclasses.replace(optional, inputs={"x": TensorSpec("float32", (-1,), has_default=True)})
    assert told(table(optional, [{"a": 1}, {"x": 1}], preprocess=half))[-1] == (
        "(record)",
        "",
        "has none of the inputs (x); fields of the record: a (1 of 2)",
        1,
    )


def test_a_record_that_does_not_fit_the_prompt() -> None:
    chat = Signature("chat", METHOD_PREDICT, {"prompt": TensorSpec("string", (-1,))}, {})
    rows = told(table(chat, [{"text": "secret"}, {"txt": 1}], prompt="Sum up: {{ text }}"))
    assert rows == [
        ("prompt", "a string", "fits in 1 of 2; the others fail before it", 0),
        ("(record)", "", rows[-1][2], 1),
    ]
    assert rows[-1][2].startswith("--prompt, line 1: text: missing in the record")


def test_of_images_as_text_it_says_what_a_model_may_want_instead() -> None:
    image, text = "iVBORw0KGgo" + "A" * 41, signature((-1,), "string", y=TensorSpec("string", (-1,)))
    rows = table(text, [{"x": image, "y": image}, {"x": image, "y": "plain"}])
    assert rows[0].verdict.startswith("fits; an image as base64 text: if the model takes its bytes, |base64 behind")
    assert (rows[0].wrong, rows[1].verdict) == (0, "fits")


def test_a_record_of_thousands_of_fields_does_not_flood_the_table() -> None:
    rows = table(signature((-1,)), [{"x": 1, **{f"f{i}": i for i in range(1000)}}])
    assert len(rows) == 22
    assert rows[-1].field == "… and 980 more"
