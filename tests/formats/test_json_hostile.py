"""JSON as nst/JSONTestSuite sorts it: what a parser must take, must refuse, and may do either with; cases of our own.

Each is one record among others, and every record is answered: it has tensors, or a dead letter that says why.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.formats.decoding import UNKNOWN, X, classes, decode, takes
from transforms.formats.codecs import JsonError, parse_json
from transforms.types import TensorSpec

TAKEN: list[bytes] = [
    *(b"[]", b"{}", b"0", b"-0", b"-0.0", b"1e5", b"1E+5", b"1E-5", b"0e1", b"123456789012345678", b'""', b"null", b"true"),
    *(
        b" [ 1 , 2 ] ",
        b"\t\r\n[1]\n",
        b'{"a":{"b":[{}]}}',
        b'{"a":1,"a":2}',
        b'{"":0}',
        b'"\\u0061\\n\\/\\\\"',
        b'"\\u0000"',
    ),
    *(b'"\\ud83d\\ude00"', '"é😀\u2028\ufeff"'.encode(), b'"\x7f"', b"[[[[[[]]]]]]", b'{"\\u0000":1}', b"[1.5,-2,3e-2]"),
]
REFUSED: list[bytes] = [
    *(
        b"[1,]",
        b"[,1]",
        b"[1,,2]",
        b"[1 2]",
        b"[1",
        b"1]",
        b"[",
        b"]",
        b"{",
        b"}",
        b"[}",
        b"{]",
        b"[1}",
        b'{"a":1,}',
        b'{"a"}',
    ),
    *(
        b'{"a":}',
        b"{:1}",
        b"{a:1}",
        b"{'a':1}",
        b"{1:1}",
        b'{"a" 1}',
        b'{"a":1 "b":2}',
        b'{"a":1}}',
        b"[1]x",
        b"1 2",
        b'""""',
    ),
    *(
        b"01",
        b"-01",
        b"1.",
        b".5",
        b"-.5",
        b"-",
        b"+1",
        b"1e",
        b"1e+",
        b"1.e1",
        b"0x1",
        b"1_0",
        b"--1",
        b"1-1",
        b"0b1",
        b"\xd9\xa1",
    ),
    *(
        b'"',
        b'"\\"',
        b'"\\x41"',
        b'"\\u12"',
        b'"\\u{61}"',
        b"'a'",
        b'"a\nb"',
        b'"a\tb"',
        b'"\x00"',
        b'"\x1f"',
        b'"\\',
        b'"\\uD8',
        b"a",
    ),
    *(
        b"nul",
        b"nulll",
        b"True",
        b"TRUE",
        b"nan",
        b"inf",
        b"undefined",
        b"+NaN",
        b"//c\n1",
        b"/**/1",
        b"#c\n1",
        b" ",
        b"\x0c1",
    ),
    *(
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'"\xe2\x82"',
        b"\x00",
        b"[1]\x00",
        b"\xef\xbb\xbf[1]",
    ),
    *(
        "[1]".encode("utf-16"),
        "[1]".encode("utf-16-le"),
        "[1]".encode("utf-32"),
        b"\x80",
        b"<a>",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ),
    *(b"1e400", b"-1e400", b"9" * 5000, b"[" + b"9" * 5000 + b"]"),
]
EITHER: list[bytes] = [
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'{"\\ud800":1}', b"1e-400", b"123456789012345678901234567890", b"-" + b"9" * 4000),
    *(b"NaN", b"-Infinity", b"Infinity", b"[" * 500 + b"]" * 500, b'{"a":' * 300 + b"1" + b"}" * 300, b"0." + b"1" * 5000),
]


@pytest.mark.parametrize("value", TAKEN)
def test_what_must_be_taken(value: bytes) -> None:
    assert repr(parse_json(value)) == repr(json.loads(value))


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: repr(value[:20]))
def test_what_must_be_refused(value: bytes) -> None:
    """The message says where, and has nothing of the value."""
    with pytest.raises(JsonError) as caught:
        parse_json(value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("value", EITHER, ids=lambda value: repr(value[:20]))
def test_what_may_be_either(value: bytes) -> None:
    """A value or a ``JsonError``; nothing else."""
    try:
        parse_json(value)
    except JsonError:
        return


@pytest.mark.parametrize(
    "signature",
    [
        X,
        UNKNOWN,
        takes(x=TensorSpec("string", (-1,))),
        takes(x=TensorSpec("float32", None), y=TensorSpec("int64", (-1,), has_default=True)),
    ],
    ids=["floats", "unknown", "string", "any rank"],
)
def test_every_record_is_answered(signature: Any) -> None:
    """In one bundle with records that are right: those are not touched by their neighbours."""
    good = b'{"x":[1,2]}'
    hostile = [*TAKEN, *REFUSED, *EITHER]
    wrapped = [b'{"x":' + value + b"}" for value in hostile]
    values = [good, *hostile, *wrapped, good]
    chunk = decode(signature, "json", *values)
    failed = classes(chunk)  # every row is in exactly one of segments and failures
    assert set(failed.values()) <= {"JsonError", "FieldError", "EmptyValue"}
    assert failed.get(0) == failed.get(len(values) - 1) == classes(decode(signature, "json", good)).get(0)
    for row, value in enumerate(values):
        if value in REFUSED:
            assert failed[row] == "JsonError"
