"""``--prompt`` in the decoder: one text a record, of every format that has fields, and dead letters of the others."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import pytest

from tests.formats.decoding import UNKNOWN, classes, decode, records, rows_of, takes
from tests.formats.test_avro import bare
from transforms.decode.decoder import Decoder
from transforms.errors import ContractError
from transforms.formats.options import FormatOptions
from transforms.types import METHOD_CLASSIFY, Signature, TensorSpec

CHAT = takes(prompt=TensorSpec("string", (-1,)))
TEMPLATE = "Sum up: {{ text }}"


def texts(input_format: str, *values: Any, model: Signature = CHAT, **options: Any) -> dict[int, Any]:
    raw = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return rows_of(decode(model, input_format, *raw, **{"prompt": TEMPLATE, **options}), "prompt")


@pytest.mark.parametrize("input_format", ["auto", "json"])
def test_json(input_format: str) -> None:
    found = texts(input_format, {"text": "one"}, {"text": "zwei ä", "more": [1]})
    assert found == {0: b"Sum up: one", 1: "Sum up: zwei ä".encode()}


def test_avro() -> None:
    schema = json.dumps({"type": "record", "name": "R", "fields": [{"name": "text", "type": "string"}]})
    assert texts("avro", bare(schema, {"text": "one"}), avro_schema=schema) == {0: b"Sum up: one"}


def test_of_a_column_of_one() -> None:
    model = takes(prompt=TensorSpec("string", (-1, 1)))
    assert texts("auto", {"text": "one"}, model=model) == {0: [b"Sum up: one"]}


def test_a_record_that_does_not_fit_is_a_dead_letter_and_no_other_is() -> None:
    values = [json.dumps(value).encode() for value in ({"text": "a"}, {"txt": "b"}, {"text": None}, {"text": "c"}, "d")]
    chunk = decode(CHAT, "json", *values, b"{", None, prompt=TEMPLATE)
    assert classes(chunk) == {1: "FieldError", 2: "FieldError", 4: "FieldError", 5: "JsonError", 6: "Tombstone"}
    assert chunk.failures[1].stage == "decode"
    assert chunk.failures[1].message.startswith("--prompt, line 1: text: missing in the record")
    assert rows_of(chunk, "prompt") == {0: b"Sum up: a", 3: b"Sum up: c"}


def test_half_a_character_is_a_dead_letter() -> None:
    chunk = decode(CHAT, "json", b'{"text": "\\ud800"}', b'{"text": "a"}', prompt=TEMPLATE)
    assert list(classes(chunk)) == [0]


def test_beside_merge_and_pass_through() -> None:
    options = FormatOptions(prompt=TEMPLATE, pass_through=(("id", "$.id"),))
    chunk = Decoder(CHAT, keep_documents=True, formats=options).decode(records(b'{"id": 7, "text": "a"}'))
    assert chunk.documents == [{"id": 7, "text": "a"}]
    assert chunk.carried == [b'"id":7']


def test_beside_features() -> None:
    with pytest.raises(ContractError, match=r"^--prompt: is the model's whole input, and so is what --features picks"):
        decode(CHAT, "json", prompt=TEMPLATE, features=(("prompt", "$.text"),))


def test_of_what_a_function_returns() -> None:
    def shout(record: dict[str, Any]) -> dict[str, Any]:
        return {"text": str(record["value"], "utf-8").upper()}

    assert texts("bytes", b"one", preprocess=shout) == {0: b"Sum up: ONE"}
    chunk = decode(CHAT, "bytes", b"one", preprocess=lambda record: {}, prompt=TEMPLATE)
    assert chunk.failures[0].message.startswith("--prompt, line 1: text: missing")


def test_inputs_are_judged_as_they_are_decoded() -> None:
    decoder = Decoder(CHAT, formats=FormatOptions(prompt=TEMPLATE))
    judged = decoder.judge(records(b'{"text": "a"}', b'{"txt": "b"}'))
    assert judged is not None
    assert list(judged.rows) == [0]
    assert judged.inputs["prompt"][0].values == ("Sum up: a",)


def test_a_decoder_travels_to_workers() -> None:
    decoder = pickle.loads(pickle.dumps(Decoder(CHAT, formats=FormatOptions(prompt=TEMPLATE))))
    assert rows_of(decoder.decode(records(b'{"text": "a"}')), "prompt") == {0: b"Sum up: a"}


@pytest.mark.parametrize(
    ("model", "input_format", "template", "says"),
    [
        (UNKNOWN, "auto", TEMPLATE, "--prompt: the server publishes no signature.*give --signature=FILE"),
        (takes(x=TensorSpec("float32", (-1,))), "auto", TEMPLATE, r"makes one text of a record, but .* takes x: float32\["),
        (takes(a=CHAT.inputs["prompt"], b=CHAT.inputs["prompt"]), "json", TEMPLATE, "takes a: string.*b: string"),
        (takes(x=TensorSpec("string", (-1, 2))), "json", TEMPLATE, "use --features in its place"),
        (dataclasses.replace(CHAT, method=METHOD_CLASSIFY), "auto", TEMPLATE, "records of tf_example have no fields"),
        (CHAT, "bytes", TEMPLATE, "--prompt: records of bytes have no fields; leave it out, or use json"),
        (CHAT, "auto", "{{", "--prompt: line 1: "),
    ],
)
def test_where_it_does_not_fit(model: Signature, input_format: str, template: str, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        decode(model, input_format, prompt=template)
