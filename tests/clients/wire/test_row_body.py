"""What is sent to multi-model-server and TorchServe for an example, and what their answers are read as."""

from __future__ import annotations

import json
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.wire.row_body import read_answer, request_body
from transforms.decode.decoder import Decoder
from transforms.errors import MalformedAnswerError
from transforms.types import METHOD_PREDICT, KafkaRecord, Signature

OCTETS = "application/octet-stream"
JSON = "application/json"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def document(value: Any) -> dict[str, np.ndarray]:
    row = np.empty(1, dtype=object)
    row[0] = value
    return {"instances": row}


@given(JSON_VALUES)
def test_a_document_is_sent_as_it_came(value: Any) -> None:
    content, content_type = request_body(document(value), "json")
    assert content_type == JSON
    assert json.loads(content) == value


def test_nan_and_infinities_stand_bare() -> None:
    """Both servers parse with Python's json, which takes them."""
    content, _ = request_body(document([float("nan"), float("-inf"), None]), None)
    assert content == b"[NaN, -Infinity, null]"


def test_arrays_by_name_are_one_object() -> None:
    inputs = {
        "x": np.array([[1, 2.5]], ">f4")[:, ::-1],
        "n": np.array([3]),
        "s": np.array([b"\xff"], dtype=object),
        "k": np.array(7, np.int64),
    }
    content, content_type = request_body(inputs, None)
    assert content_type == JSON
    assert json.loads(content) == {"x": [2.5, 1], "n": 3, "s": {"b64": "/w=="}, "k": 7}


@pytest.mark.parametrize("body", [None, "bytes"])
def test_records_read_as_bytes_are_sent_raw(body: str | None) -> None:
    """Whether the decoder knows the one input (body=bytes), or wraps the bytes because no signature is known."""
    assert request_body(document({"b64": "/wA="}), body) == (b"\xff\x00", OCTETS)
    raw = np.empty(1, dtype=object)
    raw[0] = b"\xff\x00"
    assert request_body({"body": raw}, "bytes") == (b"\xff\x00", OCTETS)


def test_a_record_read_as_bytes_from_end_to_end() -> None:
    decoder = Decoder(Signature("", METHOD_PREDICT, {}, {}, known=False), "bytes")
    [segment] = decoder.decode([KafkaRecord("t", 0, 0, 0, None, b"\xff\xd8 an image", [])]).segments
    assert request_body(segment.tensors, None) == (b"\xff\xd8 an image", OCTETS)


def test_what_only_looks_like_bytes_is_a_document() -> None:
    for value in ({"b64": "no base64!"}, {"b64": 1}, {"b64": "/w==", "more": 1}):
        content, content_type = request_body(document(value), None)
        assert (json.loads(content), content_type) == (value, JSON)
    assert request_body(document({"b64": "/w=="}), "json") == (b'{"b64":"/w=="}', JSON)


def test_what_body_bytes_can_not_carry() -> None:
    assert request_body(document("text ä"), "bytes") == ("text ä".encode(), OCTETS)
    with pytest.raises(ValueError, match="--input_format=bytes"):
        request_body(document([1, 2]), "bytes")


def parts_of(inputs: dict[str, np.ndarray]) -> dict[str, tuple[str, bytes]]:
    """A form's parts as Python's own parser reads them: name to content type and content."""
    content, content_type = request_body(inputs, "multipart")
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + content)
    parts: list[Message] = list(message.iter_parts())
    read = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(payload, bytes)
        assert part.get_filename() == name, "the servers keep the content type of files only"
        read[name] = (part.get_content_type(), payload)
    return read


def test_multipart_forms() -> None:
    fields = {"x": [1, 2], "text": "ä", "image": {"b64": "/wA="}}
    assert parts_of(document(fields)) == {
        "x": (JSON, b"[1,2]"),
        "text": ("text/plain", "ä".encode()),
        "image": (OCTETS, b"\xff\x00"),
    }
    assert parts_of(document([1, 2])) == {"data": (JSON, b"[1,2]")}
    assert parts_of(document({"b64": "/wA="})) == {"data": (OCTETS, b"\xff\x00")}
    assert parts_of({"x": np.array([[1.5]], np.float32)}) == {"x": (JSON, b"[1.5]")}
    with pytest.raises(ValueError, match="without fields"):
        request_body(document({}), "multipart")


def test_a_name_can_not_break_out_of_its_part() -> None:
    (name,) = parts_of(document({'a"\r\nX-Injected: 1': 1}))
    assert name == "a%22%0D%0AX-Injected: 1"


# ---- answers


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (b'{"y": [2.5], "label": "cat"}', "", {"label": ["cat"], "y": [[2.5]]}),
        (b"[2.5, 3.0]", "application/json; charset=utf-8", {"predictions": [[2.5, 3.0]]}),
        (b"3", "", {"predictions": [3]}),
        (b'"cat"', "", {"predictions": ["cat"]}),
        (b"[1, Infinity]", "", {"predictions": [[1, float("inf")]]}),
        (b"a cat", "", {"predictions": [b"a cat"]}),
        (b"{no json", "", {"predictions": [b"{no json"]}),
        (b"[1]", "text/plain; charset=UTF-8", {"predictions": [b"[1]"]}),
        (b"\xff\xd8", "", {"predictions": [b"\xff\xd8"]}),
        (b"[1]", "application/octet-stream", {"predictions": [b"[1]"]}),
        (b"[1]", "image/png", {"predictions": [b"[1]"]}),
        (b'{"b64": "/w=="}', "", {"predictions": [{"b64": "/w=="}]}),
        (b"[]", "", {"predictions": [[]]}),
    ],
)
def test_answers(content: bytes, content_type: str, expected: dict[str, list[Any]]) -> None:
    assert read_answer(content, content_type) == expected


@pytest.mark.parametrize(
    ("content", "content_type"), [(b"", ""), (b"", "text/plain"), (b"{}", ""), (b"{1", JSON), (b"<html>", "application/xml")]
)
def test_answers_that_are_none(content: bytes, content_type: str) -> None:
    with pytest.raises(MalformedAnswerError):
        read_answer(content, content_type)
