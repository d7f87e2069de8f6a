"""Integers beyond 64 bits in a JSON record: what is sent on has all digits, what is cast is judged as ever."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.decode.test_decoder import UNKNOWN, outcomes, records, signature
from transforms.clients.tfserving.json import predict_body
from transforms.decode.decoder import Decoder
from transforms.formats.options import FormatOptions
from transforms.formats.sources import parse_features

LONG = 12345678901234567890123


@pytest.mark.parametrize("text", [b'{"id":%d}', b'{"id": %d, "x": NaN}', b"[[-%d]]", b"%d"])
def test_integers_beyond_64_bits_are_sent_with_all_digits(text: bytes) -> None:
    """They became floats, silently, and a JSON endpoint was asked about another identifier."""
    value = text % LONG
    chunk = Decoder(UNKNOWN).decode(records(value, b'{"id":1}'))
    assert outcomes(chunk) == [[0, 1]]
    body = predict_body(chunk.segments[0].tensors, None, None)
    assert repr(json.loads(body)["instances"][0]) == repr(json.loads(value))


@pytest.mark.parametrize("neighbour", [b'{"x":1}', b'{"x":NaN}', None])
@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64", "float32", "string", "bool"])
def test_a_long_integer_meets_an_input_the_same_way_whatever_its_neighbours_are(dtype: str, neighbour: bytes | None) -> None:
    chunk = Decoder(signature({"x": (dtype, (-1,))}), "json").decode(records(b'{"x":%d}' % LONG, neighbour))
    if dtype.startswith("float"):
        assert chunk.segments[0].tensors["x"][0] == np.dtype(dtype).type(LONG)
    else:
        assert chunk.failures[0].message.startswith("x: ")
        alone = Decoder(signature({"x": (dtype, (-1,))}), "json").decode(records(b'{"x":%d}' % LONG))
        assert chunk.failures[0] == alone.failures[0]


def test_a_prompt_a_lookup_and_own_code_see_all_digits(tmp_path: Path) -> None:
    value = b'{"id":%d}' % LONG
    text = signature({"prompt": ("string", (-1,))})
    prompted = Decoder(text, formats=FormatOptions(prompt="{{ id }} {{ record }}")).decode(records(value))
    assert prompted.segments[0].tensors["prompt"].tolist() == [b'%d {"id": %d}' % (LONG, LONG)]
    (tmp_path / "known.json").write_text(json.dumps({str(LONG): 7}))
    features = parse_features([f"x=$.id|lookup({tmp_path}/known.json)"])
    looked_up = Decoder(signature({"x": ("int64", (-1,))}), formats=FormatOptions(features=features)).decode(records(value))
    assert looked_up.segments[0].tensors["x"].tolist() == [7]
    own = FormatOptions(preprocess=lambda document: {"x": str(document["id"])})
    made = Decoder(signature({"x": ("string", (-1,))}), "json", formats=own).decode(records(value))
    assert made.segments[0].tensors["x"].tolist() == [b"%d" % LONG]
