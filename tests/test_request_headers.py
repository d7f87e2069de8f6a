"""Headers that no protocol can send are found before the job, named by their flag, and never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients import ClientOptions, open_client
from transforms.errors import ConfigError
from transforms.request_headers import check_headers, grpc_metadata

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", f"Bearer {SECRET}"),
        ("X-Api-Key", ""),
        ("host", "model.example"),
        ("x", "a\tb"),
        ("x", "ä€"),
        ("x!#$%&'*+.^_`|~-", "y"),
    ],
)
def test_headers_that_may_be_sent(name: str, value: str) -> None:
    check_headers(((name, value),))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("", SECRET, "no header's name may have"),
        (f"Authorization: {SECRET}", "", "no header's name may have"),
        (f"a {SECRET}", "", "no header's name may have"),
        (f"a\n{SECRET}", "", "no header's name may have"),
        ("ä", SECRET, "no header's name may have"),
        ("authorization", f"{SECRET}\n", "--model_header authorization: .*at its end; does the variable, file or secret"),
        ("authorization", f"{SECRET}\r\nx: y", "--model_header authorization: .*control character$"),
        ("authorization", f"{SECRET}\0", "--model_header authorization: .*control character"),
        ("authorization", f"\x1b{SECRET}", "--model_header authorization: .*control character"),
        ("authorization", f"{SECRET}\udcff", "--model_header authorization: .*not UTF-8"),
        ("Content-Length", "7", "--model_header Content-Length: the connection sets it"),
        ("transfer-encoding", SECRET, "--model_header transfer-encoding: the connection sets it"),
    ],
)
def test_headers_that_may_not(name: str, value: str, says: str) -> None:
    for check in (check_headers, lambda headers: open_client("http://h:1/v1/models/m", ClientOptions(headers=headers))):
        with pytest.raises(ConfigError, match=says) as caught:
            check(((name, value),))
        assert SECRET not in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("uri", ["grpc://h:1/m", "oip+grpc://h:1/m"])
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("x", f"ä{SECRET}", "--model_header x: over gRPC"),
        ("x", f"{SECRET}\t", "--model_header x: over gRPC"),
        ("x-bin", SECRET, "--model_header x-bin: over gRPC"),
        ("x!", SECRET, "--model_header: over gRPC"),
    ],
)
def test_headers_that_grpc_can_not_send(uri: str, name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        open_client(uri, ClientOptions(headers=((name, value),)))
    assert SECRET not in str(caught.value)


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=3).map(tuple))
def test_what_is_checked_can_be_sent_over_grpc(headers: tuple[tuple[str, str], ...]) -> None:
    """By gRPC's own rules: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Custom-Metadata."""
    try:
        check_headers(headers)
        sent = grpc_metadata(headers)
    except ConfigError:
        return
    for name, value in sent:
        assert name
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.")
        assert all(" " <= character <= "~" for character in value)
