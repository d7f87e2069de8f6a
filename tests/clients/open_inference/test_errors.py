"""What Open Inference Protocol servers say when a request fails, as seen from the real ones, and what it means here."""

from __future__ import annotations

import json

import pytest

from transforms.clients.open_inference.errors import from_grpc, from_http
from transforms.errors import (
    BatchTooLargeError,
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
    TransientError,
    UnavailableError,
)

TRACEBACK = """Failed to process the request(s) for model 'half_0_0', message: Traceback (most recent call last):
  File "/tmp/1/model.py", line 492, in execute
    raise triton_responses_or_error
c_python_backend_utils.TritonModelException: Traceback (most recent call last):
    raise ValueError("secret-payload")
ValueError: secret-payload


At:
  /tmp/1/model.py(501): execute
"""


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        # Triton 2.51
        (400, {"error": "inference request batch-size must be <= 16 for 'half'"}, BatchTooLargeError),
        (400, {"error": "unexpected shape for input 'x' for model 'half'. Expected [-1,4], got [1,3]."}, RejectedError),
        (404, {"error": "Request for unknown model: 'nope' is not found"}, NotServedError),
        (500, {"error": "failed to parse the request JSON buffer: Invalid value. at 10"}, RejectedError),
        (500, {"error": "Unable to parse 'data': attempt to access JSON non-number as double"}, RejectedError),
        (500, {"error": TRACEBACK}, ModelFailedError),
        (503, {"error": "[request id: 1] Exceeds maximum queue size"}, OverloadedError),
        (503, {"error": "Request timeout expired"}, OverloadedError),
        (503, {"error": "Request for unknown model: 'm' version 1 is not at ready state"}, UnavailableError),
        (404, {"error": "Request for unknown model: 'm' has no available versions"}, UnavailableError),
        # MLServer 1.7.1
        (400, {"error": "a row is poison"}, RejectedError),
        (400, {"error": "Model half is not ready yet."}, UnavailableError),
        (404, {"error": "Model nope not found"}, NotServedError),
        (422, {"detail": [{"type": "json_invalid", "loc": ["body", 63], "msg": "JSON decode error"}]}, RejectedError),
        (500, "Internal Server Error", ModelFailedError),
        (500, {"error": "Internal error"}, TransientError),
        # KServe 0.21, and gateways
        (501, {"error": "Model versioning not supported yet."}, NotServedError),
        (500, {"error": "ValueError : a row is poison"}, ModelFailedError),
        (503, "", UnavailableError),
        (502, "<html>bad gateway</html>", UnavailableError),
        (429, {"detail": "slow down"}, OverloadedError),
        (403, {"error": "This API is restricted, expecting header 'triton-access-token'"}, NotServedError),
    ],
)
def test_http(status: int, body: object, error: type[ModelError]) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    made = from_http("model m at h:1", status, raw)
    assert type(made) is error
    assert str(made).startswith(f"model m at h:1: HTTP {status}: ")


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        ("INVALID_ARGUMENT", "inference request batch-size must be <= 16 for 'half'", BatchTooLargeError),
        ("INVALID_ARGUMENT", "Model half is not ready yet.", UnavailableError),
        ("NOT_FOUND", "Request for unknown model: 'nope' is not found", NotServedError),
        ("NOT_FOUND", "Request for unknown model: 'm' has no available versions", UnavailableError),
        ("FAILED_PRECONDITION", "whatever is 422 over REST", RejectedError),
        ("INTERNAL", "a row is poison", TransientError),
        ("INTERNAL", TRACEBACK, ModelFailedError),
        ("INTERNAL", "Internal server error", ModelFailedError),
        ("INTERNAL", "required argument is not a float", RejectedError),
        ("INTERNAL", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", RejectedError),
        ("UNAVAILABLE", "Exceeds maximum queue size", OverloadedError),
        ("UNAVAILABLE", "failed to connect to all addresses", UnavailableError),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (8000028 vs. 4194304)", RequestTooLargeError),
        ("RESOURCE_EXHAUSTED", "out of memory", OverloadedError),
    ],
)
def test_grpc(code: str, text: str, error: type[ModelError]) -> None:
    made = from_grpc("model m at h:1", code, text)
    assert type(made) is error
    assert str(made).startswith(f"model m at h:1: {code}: ")


@pytest.mark.parametrize(
    "text",
    [
        TRACEBACK,
        "could not convert string to float: 'secret-payload'",
        "ValueError : could not convert string to float: 'secret-payload'",
        "invalid literal for int() with base 10: 'secret-payload'",
    ],
)
def test_what_pythons_exceptions_quote_is_left_out(text: str) -> None:
    for made in (from_grpc("m", "INTERNAL", text), from_http("m", 500, json.dumps({"error": text}).encode())):
        assert "secret-payload" not in str(made)
        assert "\n" not in str(made)
    assert "ValueError" in str(from_grpc("m", "INTERNAL", TRACEBACK))


def test_the_input_that_fastapi_echoes_is_left_out() -> None:
    wrong = {
        "type": "float_type",
        "loc": ["body", "inputs", 0],
        "msg": "Input should be a number",
        "input": "secret-payload",
    }
    made = from_http("m", 422, json.dumps({"detail": [wrong, wrong]}).encode())
    assert str(made) == "m: HTTP 422: body.inputs.0: Input should be a number; body.inputs.0: Input should be a number"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"error": null}', b"\xff\xfe", b"[" * 100_000])
def test_bodies_without_a_text(body: bytes) -> None:
    assert isinstance(from_http("m", 400, body), RejectedError)
    assert len(str(from_http("m", 400, body))) < 400
