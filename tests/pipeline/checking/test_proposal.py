"""The ``--features`` that the check proposes: what is found, that the decoder takes it, and when nothing is proposed."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import fastavro
import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checking.leaves import leaves_of
from pipeline.checking.proposal import Proposal, found_so_far, instead_of_text, propose
from tests.formats.decoding import records, takes
from transforms.formats.options import FormatOptions, RegistryConfig
from transforms.formats.registry import RegisteredSchema
from transforms.formats.sources import parse_features, parse_source
from transforms.stages import DecodeConfig
from transforms.types import Signature, TensorSpec

FLOAT = TensorSpec("float32", (-1,))
STRING = TensorSpec("string", (-1,))
BOOL = TensorSpec("bool", (-1,))
PNG = "iVBORw0KGgo" + "A" * 41
ONE, TWO = takes(amount=FLOAT), takes(amount=FLOAT, country=STRING)
KERAS = takes(keras_tensor_5=TensorSpec("float32", (-1, 1)))


def columns(count: int) -> TensorSpec:
    return TensorSpec("float32", (-1, count))


def proposed(signature: Signature, *values: Any, input_format: str = "json", **options: Any) -> Proposal | None:
    """What is proposed for records; values that are no bytes are dumped as JSON."""
    raw = [value if value is None or type(value) is bytes else json.dumps(value).encode() for value in values]
    config = DecodeConfig(signature, input_format, formats=FormatOptions(**options))
    decoder = config.decoder()
    return propose(config, decoder, decoder.decode(records(*raw)), decoder.judge(records(*raw)))


def change(before: Any, after: Any) -> dict[str, Any]:
    """An event of Debezium, with the schema that Connect's JSON converter adds."""
    schema = {"type": "struct", "fields": [{"field": "after", "type": "struct"}], "name": "orders", "amount": 1}
    payload = {"before": before, "after": after, "source": {"ts_ms": 1, "table": "orders", "amount": 2}, "op": "u"}
    return {"schema": schema, "payload": payload}


ORDER = {"id": 7, "amount": 3.5, "country": "DE"}


@pytest.mark.parametrize(
    ("signature", "values", "features"),
    [
        (TWO, [{"order": ORDER}], "amount=$.order.amount,country=$.order.country"),
        (TWO, [{"Amount": 1, "COUNTRY": "DE"}], "amount=$.Amount,country=$.COUNTRY"),
        (takes(unit_price=FLOAT), [{"unitPrice": 1}], "$.unitPrice"),
        (takes(user_age=FLOAT, x=FLOAT), [{"user": {"age": 3}, "x": 1}], "user_age=$.user.age"),
        (takes(**{"serving_default_amount:0": FLOAT}), [{"amount": 1, "other": 2}], "$.amount"),
        (takes(temperature=FLOAT), [{"temperatur": 1, "pressure": 2}], "$.temperatur"),
        (ONE, [{"amount": "3.50"}, {"amount": 4}], "$.amount|number"),
        (takes(paid=FLOAT), [{"paid": True}], "$.paid|number"),
        (takes(at=FLOAT, amount=FLOAT), [{"at": "2026-01-31T12:00:00Z", "amount": 1}], "at=$.at|time"),
        (
            takes(image=STRING, amount=FLOAT),
            [{"in": {"image": PNG, "amount": 1}}],
            "image=$.in.image|base64,amount=$.in.amount",
        ),
        (ONE, [{"body": '{"amount": "3.5"}'}], "$.body|json|$.amount|number"),
        (takes(x=columns(2)), [{"x": "[1,2]"}], "$.x|json"),
        (takes(x=columns(2)), [{"x": [[1, 2]]}], "$.x[0]"),
        (takes(x=columns(2)), [{"x": ["1", "2"]}], "[$.x[0]|number,$.x[1]|number]"),
        (ONE, [{"amount": [3.5]}], "$.amount[0]"),
        (ONE, [{"amount": ["3.5"]}], "$.amount[0]|number"),
        (TWO, [change(None, ORDER), change(ORDER, ORDER)], "amount=$.payload.after.amount,country=$.payload.after.country"),
        (KERAS, [{"id": 7, "amount": 3.5, "name": "x"}], "$.amount"),
        (KERAS, ["3.5", "4"], "$|number"),
        (takes(dense_1=columns(3)), [{"age": 1, "income": "5", "kids": 2, "id": 7}], "[$.age,$.income|number,$.kids]"),
        (takes(dense_1=columns(2)), [{"age": 1, "id": 7}], "[$.age,$.id]"),
        (takes(x=columns(3)), [{"x_2": 1, "x_0": 2, "x_1": 3, "z": 4}], "[$.x_0,$.x_1,$.x_2]"),
        (
            takes(dense=columns(2), country=STRING),
            [{"in": {"age": 1, "kids": 2, "country": "DE"}}],
            "dense=[$.in.age,$.in.kids],country=$.in.country",
        ),
        (takes(x=columns(2), y=columns(2)), [{"x0": 1, "x1": 2, "y0": 3, "y1": 4}], "x=[$.x0,$.x1],y=[$.y0,$.y1]"),
        (takes(**{"a b": FLOAT, "c": FLOAT}), [{"A B": 1, "c": 2}], "a b=$['A B']"),
        (ONE, [{"it's, |": {"amount": 1}}], r"$['it\'s, |'].amount"),
        (
            takes(amount=FLOAT, mode=TensorSpec("string", (-1,), has_default=True)),
            [{"in": {"amount": 1, "mode": "m"}}],
            "amount=$.in.amount,mode=$.in.mode",
        ),
        (
            takes(amount_eur=FLOAT, amount_usd=FLOAT),
            [{"amount": 1, "AmountEUR": 2}],
            "amount_eur=$.AmountEUR,amount_usd=$.amount",
        ),
        (takes(amount=FLOAT, ok=BOOL), [{"amount": 1, "OK": True}], "ok=$.OK"),
    ],
)
def test_what_is_proposed(signature: Signature, values: list[Any], features: str) -> None:
    """And that the decoder of the run takes all of the records with it, and none is proposed then."""
    found = proposed(signature, *values)
    assert found is not None
    assert (found.features, found.fits) == (features, len(values))
    assert "a guess by " in found.notes[0]
    assert proposed(signature, *values, features=parse_features([found.features])) is None


@pytest.mark.parametrize(
    ("signature", "values", "options"),
    [
        (TWO, [{"amount": 1, "country": "DE"}, {"amount": 2, "country": "FR", "Amount": 3}], {}),
        (TWO, [None, b"{", b""], {}),
        (TWO, [{"amount": 1, "country": "DE"}, None, b"{"], {}),
        (ONE, [{"amount": 1}, {"amount": None}], {}),
        (ONE, [{"amount": "warm"}], {}),
        (ONE, [{"weight": 1, "height": 2}], {}),
        (ONE, [[1, 2]], {}),
        (ONE, [{"id": 7, "ts": 8}], {}),
        (KERAS, [{"orderId": 7, "event_time": 8, "updatedAt": 9}], {}),
        (takes(amount=FLOAT, amount_usd=FLOAT), [{"amount": 1}], {}),
        (takes(amount_eur=FLOAT, amount_usd=FLOAT), [{"amount": 1}], {}),
        (KERAS, [{"weight": 1, "height": 2}], {}),
        (takes(x=columns(2)), [{"a": 1, "b": 2, "c": 3}], {}),
        (takes(x=columns(2), y=columns(2)), [{"a": 1, "b": 2}], {}),
        (takes(**{"a,b": FLOAT, "c": FLOAT}), [{"A,B": 1, "c": 2}], {}),
        (ONE, [{"new\nline": {"amount": 1}}], {}),
        (ONE, [{"Amount": 1}], {"preprocess": dict}),
        (Signature("", "", {}, {}, known=False), [{"Amount": 1}], {}),
    ],
)
def test_nothing_is_proposed(signature: Signature, values: list[Any], options: dict[str, Any]) -> None:
    """Where records fit, nothing helps, or nothing tells which of the fields is meant."""
    assert proposed(signature, *values, **options) is None


def test_what_else_might_be_meant_is_told() -> None:
    found = proposed(ONE, {"amount_eur": 1, "amount_usd": 2, "amount_gbp": 3, "amount_chf": 4, "amount_sek": 5})
    assert found == Proposal(
        "$.amount_eur",
        1,
        (
            "1 of the 1 record read fits with it; what the fields mean is a guess by names",
            "amount might also be $.amount_usd, $.amount_gbp, $.amount_chf and 1 more",
        ),
    )
    found = proposed(takes(dense=columns(2), country=STRING), {"a": 1, "b": 2, "Country": "DE"})
    assert found is not None
    assert found.notes[0].endswith("a guess by names and their number")
    assert found.notes[1].startswith("the columns are in the order that the fields have in the records: ")
    alone = proposed(KERAS, {"amount": 1})
    assert alone is not None
    assert alone.notes[0].endswith("a guess by type: no other field fits")


def test_the_order_of_columns_is_told() -> None:
    """Numbered fields are sorted by their numbers, wherever they stand in the records."""
    found = proposed(takes(x=columns(3)), {"x10": 1, "x2": 2, "x1": 3})
    assert found is not None
    assert found.features == "[$.x1,$.x2,$.x10]"
    assert found.notes[1].startswith("the columns are in the order of the numbers in the names of the fields: ")


def test_it_says_how_many_fit_with_it() -> None:
    """Deletes have no row in an envelope: the others are the most."""
    deleted = change(ORDER, None)
    found = proposed(TWO, *[change(None, ORDER)] * 3, deleted, None)
    assert found is not None
    assert (found.features, found.fits) == ("amount=$.payload.after.amount,country=$.payload.after.country", 3)
    assert proposed(TWO, change(None, ORDER), *[deleted] * 3).features.startswith("amount=$.payload.before")  # type: ignore[union-attr]


def test_all_of_the_sample_is_decoded_with_it() -> None:
    """Also what is beyond the records that were searched for fields."""
    values: list[Any] = [{"Amount": 1} for _ in range(500)]
    values[499] = {"Amount": None}
    found = proposed(ONE, *values)
    assert found is not None
    assert found.fits == 499
    values[100:400] = [{"Amount": "warm"}] * 300
    assert proposed(ONE, *values) is None, "most of them would not fit"


def test_with_a_prompt_no_fields_are_proposed() -> None:
    """Not even hints: what a template misses is no input of the model."""
    chat = takes(prompt=TensorSpec("string", (-1,)))
    assert proposed(chat, {"txt": "a"}, prompt="{{ text }}") is None
    assert hinted(chat, {"txt": "a"}, prompt="{{ text }}") == ()


def test_what_was_given_and_fits_is_kept(tmp_path: Any) -> None:
    """Also a file of categories, by its name."""
    (tmp_path / "c.json").write_text('{"DE": 1}')
    given = f"country=$.c|lookup({tmp_path}/c.json),amount=$.nowhere"
    signature = takes(amount=FLOAT, country=FLOAT, x=FLOAT)
    found = proposed(signature, {"c": "DE", "Amount": 1, "x": 3}, features=parse_features([given]))
    assert found is not None
    assert found.features == f"country=$.c|lookup({tmp_path}/c.json),amount=$.Amount"


def test_fields_of_avro_with_the_schemas_of_the_registry() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "Amount", "type": "string"}]}
    schema = {"type": "record", "name": "Row", "fields": [{"name": "in", "type": ["null", inner]}]}
    value = io.BytesIO()
    fastavro.schemaless_writer(value, fastavro.parse_schema(schema), {"in": {"Amount": "3.5"}})
    found = proposed(ONE, value.getvalue(), input_format="avro", avro_schema=json.dumps(schema))
    assert found is not None
    assert found.features == "$.in.Amount|number"

    config = DecodeConfig(ONE, "avro", formats=FormatOptions(registry=RegistryConfig("http://127.0.0.1:1")))
    decoder = config.decoder()
    assert decoder.schemas is not None
    decoder.schemas.learn(5, RegisteredSchema("AVRO", json.dumps(schema), {}))
    framed = records(b"\0\0\0\0\5" + value.getvalue())
    assert propose(config, decoder, decoder.decode(framed), decoder.judge(framed)) == found


def test_fields_of_protobuf() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="order.proto", package="t", syntax="proto3")
    text = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    file.message_type.add(name="Order").field.add(name="Amount", number=1, type=text, label=1)
    config = DecodeConfig(ONE, "protobuf", formats=FormatOptions(registry=RegistryConfig("http://127.0.0.1:1")))
    decoder = config.decoder()
    assert decoder.schemas is not None
    decoder.schemas.learn(5, RegisteredSchema("PROTOBUF", base64.b64encode(file.SerializeToString()).decode(), {}))
    framed = records(b"\0\0\0\0\5\0\x0a\x033.5")
    found = propose(config, decoder, decoder.decode(framed), decoder.judge(framed))
    assert found is not None
    assert (found.features, found.fits) == ("$.Amount|number", 1)


@pytest.mark.parametrize(
    ("input_format", "values", "said"),
    [
        ("auto", [{"image": PNG, "label": "cat", "id": "7"}] * 2, "'--features=$.image|base64'"),
        ("auto", [{"x": "text", "y": "more"}, None], "'--features=$.x'"),
        ("auto", [{"y": "text", "z": "more"}], None),
        ("auto", [{"x": "text"}, ["x"]], None),
        ("auto", [{"x": "text"}, b"{"], None),
        ("auto", [None], None),
        ("bytes", [{"x": "text"}], None),
        ("json", [{"x": "text"}], None),
    ],
)
def test_json_objects_that_go_to_the_model_as_text(input_format: str, values: list[Any], said: str | None) -> None:
    raw = [value if value is None or type(value) is bytes else json.dumps(value).encode() for value in values]
    config = DecodeConfig(takes(x=STRING), input_format)
    found = instead_of_text(config, config.decoder(), records(*raw))
    assert found is None if said is None else found is not None and str(found).endswith(said)
    assert found is None or found.image == ("base64" in found.features)


MINUTES = [{"at": f"2026-11-28T01:{minute:02}:00Z", "amount": 1} for minute in range(20)]


@pytest.mark.parametrize(
    ("signature", "values", "notes"),
    [
        (
            takes(At=FLOAT),
            MINUTES,
            ["At: float32 is exact up to 16,777,216 only, and moves these numbers by up to 60 seconds"],
        ),
        (takes(At=TensorSpec("float64", (-1,))), MINUTES, []),
        (
            ONE,
            [{"Amount": 2**24 + 1}],
            ["amount: float32 is exact up to 16,777,216 only, and moves these numbers by up to 1"],
        ),
        (ONE, [{"Amount": 3.59}, {"Amount": 2**24}], []),
        (
            ONE,
            [{"amount": [3.5]}, {"amount": [4]}],
            ["amount: $.amount[0] takes the first value alone; each list that was read has no other"],
        ),
        (
            TWO,
            [{"in": {"amount": None if i == 3 else i, "country": "DE"}} for i in range(5)],
            [
                "dead letters with it, 1 of 1: amount ($.in.amount): expected float32, came null; "
                "|default(JSON) behind its path in --features takes the place of null"
            ],
        ),
    ],
)
def test_what_is_lost_with_it_is_told(signature: Signature, values: list[Any], notes: list[str]) -> None:
    """Times that a float32 moves, elements behind the first, and records that are dead letters all the same."""
    found = proposed(signature, *values)
    assert found is not None
    assert [note for note in found.notes[1:] if " might also " not in note] == notes


def hinted(signature: Signature, *values: Any, **options: Any) -> tuple[str, ...]:
    raw = records(*[json.dumps(value).encode() for value in values])
    config = DecodeConfig(signature, "json", formats=FormatOptions(**options))
    assert propose(config, config.decoder(), config.decoder().decode(raw), config.decoder().judge(raw)) is None
    return found_so_far(config, config.decoder().judge(raw))


def test_where_the_inputs_may_be_is_told_if_one_of_them_is_a_category() -> None:
    """Only the user can write the file of its numbers, so nothing can be proven; but all that was found is said."""
    signature = takes(country=TensorSpec("int64", (-1, 1)), at=FLOAT, amount=FLOAT)
    orders = [{"at": "2026-01-31", "in": {"country": code, "amount": "3.5"}} for code in ("DE", "FR", "DE")]
    command, file = hinted(signature, *orders)
    assert command == (
        "where the inputs may be, by their names: "
        "'--features=at=$.at|time,amount=$.in.amount|number,country=$.in.country|lookup(FILE)'"
    )
    assert file.startswith("country: $.in.country has 2 different texts: write FILE, a JSON object of each with its number")
    assert not any(code in line for code in ("DE", "FR") for line in (command, file))
    given = hinted(signature, *orders, features=parse_features(["amount=$.in.amount|number"]))
    assert given[0].endswith("'--features=amount=$.in.amount|number,at=$.at|time,country=$.in.country|lookup(FILE)'")


def test_an_input_that_no_field_is_like_is_said_to_be_missing() -> None:
    command, *lines = hinted(TWO, {"in": {"amount": 3.5}, "x": "y"})
    assert command == "where some of the inputs may be, by their names: '--features=amount=$.in.amount'"
    assert lines == ["country: no field was found"]
    assert hinted(TWO, {"x": 1, "y": 2}) == ()
    assert hinted(ONE, {"order": {"amount": "x" * 101}}) == (), "a long text is no category"


_NAMES = st.text(min_size=1, max_size=6)
_DOCUMENTS = st.recursive(
    st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(_NAMES, inner, max_size=4),
)


@given(_DOCUMENTS)
def test_every_value_is_found_by_its_path(document: Any) -> None:
    """Whatever the names are; also as the source of an input in a list of them."""
    for leaf in leaves_of([document]):
        assert parse_source(leaf.path).find(document) == leaf.values[0]
        assert dict(parse_features([f"x={leaf.path},y=[{leaf.path},{leaf.path}|number]"]))["x"] == leaf.path


_SPECS = st.builds(
    TensorSpec,
    st.sampled_from(["float32", "bfloat16", "uint8", "int64", "bool", "string"]),
    st.sampled_from([None, (), (-1,), (-1, 1), (-1, 2), (-1, -1), (2,), (-1, 2, 2)]),
    st.booleans(),
)
_LIKELY = st.sampled_from(["a", "A", "a_b", "b", "ab", "x0", "x1"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["1", "2026-01-31", '{"a": 1}', "[1,2]", PNG]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_LIKELY, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(_LIKELY, _SPECS, min_size=1, max_size=3), st.lists(_VALUES, min_size=1, max_size=4))
def test_what_is_proposed_is_better_whatever_came(inputs: dict[str, TensorSpec], documents: list[Any]) -> None:
    signature = takes(**inputs)
    raw = records(*[json.dumps(document).encode() for document in documents])
    before = DecodeConfig(signature, "json").decoder().decode(raw)
    found = proposed(signature, *documents)
    if found is not None:
        options = FormatOptions(features=parse_features([found.features]))
        after = DecodeConfig(signature, "json", formats=options).decoder().decode(raw)
        assert len(raw) - len(after.failures) == found.fits > len(raw) - len(before.failures)
