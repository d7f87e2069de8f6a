"""Bodies as they come: counted, inflated where that was asked for, never more than the limit."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.answer_body import AnswerBody, asks_for_compression
from transforms.errors import AnswerTooLargeError, MalformedAnswerError

ZIPPED = gzip.compress(b"some text", mtime=0)


def taken(data: bytes, limit: int, encoding: str = "", inflates: bool = False, step: int = 7) -> bytes:
    body = AnswerBody("here", limit, encoding, inflates)
    for at in range(0, len(data), step):
        body.add(data[at : at + step])
    return body.whole()


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(1, 50))
def test_a_body_comes_whole_or_not_at_all(data: bytes, limit: int, step: int) -> None:
    for encoding, sent in (("", data), ("gzip", gzip.compress(data)), ("Deflate", zlib.compress(data))):
        if len(data) <= limit:
            assert taken(sent, limit, encoding, True, step) == data
        else:
            with pytest.raises(AnswerTooLargeError):
                taken(sent, limit, encoding, True, step)


def test_gzip_of_several_members() -> None:
    assert taken(gzip.compress(b"ab") + gzip.compress(b"") + gzip.compress(b"cd"), 4, "x-gzip", True) == b"abcd"


@pytest.mark.parametrize("sent", [b"no gzip at all", ZIPPED[:-9], ZIPPED + b"tail"], ids=["no gzip", "cut", "more"])
def test_what_is_no_gzip(sent: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="here: the compressed answer"):
        taken(sent, 1000, "gzip", True)


@pytest.mark.parametrize(("encoding", "asked"), [("gzip", False), ("br", False), ("br", True), ("gzip, gzip", True)])
def test_an_encoding_that_was_not_asked_for_or_is_not_known(encoding: str, asked: bool) -> None:
    with pytest.raises(MalformedAnswerError, match="is compressed"):
        AnswerBody("here", 10, encoding, asked)


def test_an_encodings_name_can_not_do_harm_in_a_message() -> None:
    with pytest.raises(MalformedAnswerError) as caught:
        AnswerBody("here", 10, "\x1b[2J" * 1000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_who_asks_for_compression() -> None:
    assert asks_for_compression([("x", "y"), ("Accept-Encoding", "gzip")])
    assert not asks_for_compression([("x-accept-encoding", "gzip")])
