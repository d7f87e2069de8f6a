"""Values of other formats that are read as JSON: the message says what they are, and which flag reads them."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest

from transforms.formats.codecs import JsonError, parse_json


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(2))
    return file.getvalue()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            b'\x00\x00\x00\x00\x07{"x":1}',
            "frame (0, then the schema's id 7): --schema_registry=URL with --input_format=json",
        ),
        (b"\x00\x00\x00\x00\x0a [1]", "id 10): --schema_registry=URL with --input_format=json"),
        (b"\x00\x00\x00\x01\x00\x02\xff", "id 256): --schema_registry=URL with --input_format=avro or protobuf"),
        (b"Obj\x01\x04\x14avro", "it is an Avro container file: --input_format=avro"),
        (npy(), "it is a .npy file: --input_format=npy"),
        (b"\x89PNG\r\n\x1a\n\x00", "it is an image: --input_format=bytes"),
        (b"\xff\xd8\xff\xe0", "it is an image: --input_format=bytes"),
        (gzip.compress(b"{}", mtime=0), "it is compressed by gzip: --input_format=bytes with a --preprocess"),
        (b"\x00\x00\x00\x00\x07", "Expecting value at line 1, column 1"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"{", "Expecting property name enclosed in double quotes at line 1, column 2"),
    ],
)
def test_the_message_has_the_cure(value: bytes, says: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_json(value)
    assert str(caught.value).startswith("the value is not JSON: ")
    assert says in str(caught.value)
