"""The sources of inputs: paths, words that change values, and several columns into one input."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.formats.decoding import X, decode, rows_of, takes
from transforms.decode.decoder import Decoder
from transforms.errors import ContractError
from transforms.formats.casting import FieldMismatch
from transforms.formats.field_paths import NotFoundError, PathError
from transforms.formats.options import FormatOptions
from transforms.formats.sources import parse_features, parse_source
from transforms.types import TensorSpec

MANY = TensorSpec("float32", (-1, 3))


def find(text: str, document: Any) -> Any:
    return parse_source(text).find(document)


@pytest.mark.parametrize(
    ("word", "given", "found"),
    [
        ("number", "3.50", 3.5),
        ("number", " -12 ", -12),
        ("number", "1e3", 1000.0),
        ("number", ".5", 0.5),
        ("number", 7, 7),
        ("number", True, 1),
        ("number", "123456789012345678901234567890", 123456789012345678901234567890),
        ("default(0)", None, 0),
        ("default(0)", 5, 5),
        ("default(0)", False, False),
        ('default("none")', None, "none"),
        ("base64", "/+8=", b"\xff\xef"),
        ("base64", "_-8", b"\xff\xef"),
        ("base64", "/+8", b"\xff\xef"),
        ("base64", "data:image/png;base64,/+8=", b"\xff\xef"),
        ("base64", "/+\n8=\n", b"\xff\xef"),
        ("time", "1970-01-01T00:01:00Z", 60.0),
        ("time", "1970-01-01T02:00:00+02:00", 0.0),
        ("time", "1970-01-02", 86400.0),
        ("lower", "DE", "de"),
        ("json", '{"a": [1]}', {"a": [1]}),
        ("json|$.a[0]", '{"a": [1]}', 1),
        ("json|$.b|default(9)", '{"a": [1]}', 9),
        ("number|default(0)", None, 0),
        ("lower|number", None, None),
    ],
)
def test_words(word: str, given: Any, found: Any) -> None:
    assert find(f"$.a|{word}", {"a": given}) == found
    assert type(find(f"$.a|{word}", {"a": given})) is type(found)


@pytest.mark.parametrize(
    ("word", "given"),
    [
        ("number", "1,5"),
        ("number", "abc"),
        ("number", ""),
        ("number", "."),
        ("number", "nan"),
        ("number", "1e"),
        ("number", [1]),
        ("base64", "%%"),
        ("base64", "a"),
        ("base64", 1),
        ("time", "yesterday"),
        ("time", 1700000000),
        ("lower", 1),
        ("json", "{"),
        ("json", {"a": 1}),
    ],
)
def test_what_a_word_can_not_change_is_refused_without_the_value(word: str, given: Any) -> None:
    with pytest.raises(FieldMismatch, match=rf"^{word}: ") as caught:
        find(f"$.a|{word}", {"a": given})
    assert "abc" not in str(caught.value)


def test_a_default_stands_for_what_is_absent() -> None:
    assert find("$.a.b|default(0)", {}) == 0
    with pytest.raises(NotFoundError, match=r"\$\.a\.b: nothing at \$\.a"):
        find("$.a.b|number", {})


def test_lookup(tmp_path: Path) -> None:
    """Its file is part of the job: a worker on another machine has none."""
    file = tmp_path / "countries.json"
    file.write_text('{"DE": 1, "FR, (old)": 2, "7": 3}', encoding="utf-8")
    [(name, text)] = parse_features([f"x=$.country|lookup({file})|default(-1)"])
    file.unlink()
    source = parse_source(text)
    countries = ["DE", "FR, (old)", 7, "US", None]
    assert [source.find({"country": country}) for country in countries] == [1, 2, 3, -1, -1]
    assert name == "x"
    assert parse_source(source.text).text == source.text
    assert source.shown == f"$.country|lookup({file})|default(-1)"
    assert parse_source(f"[$.a, {text}]").shown == f"[$.a,{source.shown}]"
    chunk = decode(takes(x=TensorSpec("float32", (-1,))), "json", b'{"country":[]}', features=(("x", text),))
    assert chunk.failures[0].message == (
        f"x ({source.shown}): lookup({file}): expected a string or an integer, came a list of 0"
    ), "the file's content is in no message"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$.a|nummer", "nummer: no such word; use number, base64"),
        ("$.a|default", "no such word"),
        ("$.a|default(x)", "give JSON"),
        ("$.a|lookup(/nowhere.json)", "/nowhere.json: can't be read"),
        ("[$.a,$.b", "bracket is not closed"),
        ("a.b", "must begin with"),
    ],
)
def test_mistakes_are_told_at_the_start(text: str, said: str) -> None:
    with pytest.raises(PathError) as caught:
        parse_source(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["x=$.a,y=$.b"], (("x", "$.a"), ("y", "$.b"))),
        (["x=[$.a,$['b,c'],$.d|default(0)]"], (("x", "[$.a,$['b,c'],$.d|default(0)]"),)),
        (["[$.a,$.b]"], (("", "[$.a,$.b]"),)),
        (["$.a,$.b"], (("", "[$.a,$.b]"),)),
        (["$.a", "$.b|number"], (("", "[$.a,$.b|number]"),)),
        (["$.a"], (("", "$.a"),)),
        (['x=$.a|default("b=c,d")'], (("x", '$.a|default("b=c,d")'),)),
    ],
)
def test_flags(texts: list[str], found: Any) -> None:
    assert parse_features(texts) == found


def test_columns_of_a_record_into_one_input() -> None:
    """With the name that Keras invents left out, and the decoder sent to a worker."""
    signature = takes(keras_tensor_5=MANY)
    options = FormatOptions(features=parse_features(["[$.a,$.b|number,$.c|default(0)]"]))
    decoder = pickle.loads(pickle.dumps(Decoder(signature, "json", formats=options)))
    values = [json.dumps(it).encode() for it in ({"a": 1, "b": "2", "c": 3}, {"a": 4, "b": 5}, {"a": 6}, {"a": "x", "b": 1})]
    chunk = decode(signature, "json", *values, features=options.features)
    assert rows_of(chunk, "keras_tensor_5") == {0: [1, 2, 3], 1: [4, 5, 0]}
    assert {row: failure.message for row, failure in chunk.failures.items()} == {
        2: "keras_tensor_5: missing in the record; $.b: nothing at $.b",
        3: "keras_tensor_5 ([$.a,$.b|number,$.c|default(0)])[0]: expected float32, came a string; "
        "|lookup(FILE) behind its path in --features makes a number of a category",
    }
    assert decoder.input_format == "json"


def test_a_column_whose_value_does_not_fit_is_named() -> None:
    """Of ten columns in one input, the message says which; a long list of them is not repeated."""
    columns = [f"$.payload.after.{name}|number" for name in ("amount", "weight", "height")]
    features = parse_features([f"[{','.join(columns)}]"])
    rows = ({"amount": "1", "weight": "2", "height": height} for height in ("3", "tall"))
    values = [json.dumps({"payload": {"after": row}}).encode() for row in rows]
    chunk = decode(takes(dense=MANY), "json", *values, features=features)
    assert rows_of(chunk, "dense") == {0: [1, 2, 3]}
    assert chunk.failures[1].message == (
        "dense ([$.payload.after.amount|number,… 3 columns]): $.payload.after.height|number: number: a string is no number "
        'such as "3.5"'
    )


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ((("x", "[$.a,$.b,$.c]"),), r"x=\[\$\.a,\$\.b,\$\.c\]: has 3 columns, but the input takes float32\[2\]"),
        ((("y", "$.a"),), "'y' is no input"),
    ],
)
def test_what_can_not_fit_the_model(features: Any, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        decode(X, "json", features=features)


def test_a_name_may_be_left_out_only_for_one_input() -> None:
    with pytest.raises(ContractError, match="name the input, as in INPUT=PATH: 'serving_default' takes a, b"):
        decode(takes(a=MANY, b=MANY), "json", features=(("", "$.a"),))


ONE = TensorSpec("float32", (-1, 1))


def test_a_bare_value_for_a_row_of_one_element() -> None:
    """Keras 3's Input((1,)) is float32[?,1]; the result does not depend on the other records."""
    values = [b'{"x": 3.5}', b'{"x": [4.5]}', b'{"x": "5"}', b'{"x": true}', b'{"x": [1, 2]}', b"7", b'{"x": null}']
    chunk = decode(takes(x=ONE), "json", *values)
    assert rows_of(chunk) == {0: [3.5], 1: [4.5], 5: [7]}
    assert sorted(chunk.failures) == [2, 3, 4, 6]
    for row, value in enumerate(values):
        alone = decode(takes(x=ONE), "json", value)
        assert rows_of(alone) == ({0: rows_of(chunk)[row]} if row in rows_of(chunk) else {})
    assert rows_of(decode(takes(x=ONE), "json", *[b'{"x": 3.5}'] * 3)) == {row: [3.5] for row in range(3)}
    text = takes(x=TensorSpec("string", (-1, 1)))
    assert rows_of(decode(text, "json", b'{"x": "a"}', b'{"x": {"b64": "YQ=="}}')) == {0: [b"a"], 1: [b"a"]}


@pytest.mark.parametrize("shape", [(-1, 2), (-1, -1), (-1, 1, 2)])
def test_but_not_where_a_row_has_more(shape: tuple[int, ...]) -> None:
    assert 0 in decode(takes(x=TensorSpec("float32", shape)), "json", b'{"x": 3.5}').failures


def test_numbers_that_are_passed_through_keep_their_digits() -> None:
    number = "123456789012345678901234567890"
    text = f'{{"x": [1, 2], "id": {number}, "a": {{"b": [0.10000000000000000555111512, "t", null, true]}}, "n": NaN}}'
    chunk = decode(X, "json", text.encode(), pass_through=(("id", "$.id"), ("a", "$.a"), ("n", "$.n"), ("t", "$.a.b[1]")))
    assert chunk.carried == [
        f'"id":{number},"a":{{"b":[0.10000000000000000555111512,"t",null,true]}},"n":"NaN","t":"t"'.encode()
    ]
