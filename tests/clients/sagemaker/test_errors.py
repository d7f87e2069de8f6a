"""SageMaker's errors, and the container's in them, become those of this project."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from multidict import CIMultiDict

from transforms.clients.sagemaker.errors import error_name, error_of, is_of_container
from transforms.clients.wire.http import HttpResponse
from transforms.errors import (
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
    TransientError,
    UnavailableError,
)

WHERE = "endpoint e at h"


def answer(status: int, name: str, message: str, **fields: Any) -> HttpResponse:
    body = json.dumps({"Message": message, **fields}).encode()
    return HttpResponse(status, body, 7.0, "", "", CIMultiDict({"x-amzn-errortype": name} if name else {}))


def of_model(status: Any, original: str, message: str = "Received server error") -> HttpResponse:
    return answer(424, "ModelError", message, OriginalStatusCode=status, OriginalMessage=original, LogStreamArn="arn:a")


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (answer(400, "ThrottlingException", "Rate exceeded"), OverloadedError, "ThrottlingException: Rate exceeded"),
        (answer(429, "ModelNotReadyException", "still loading"), UnavailableError, "still loading"),
        (answer(503, "ServiceUnavailable", "try again"), UnavailableError, "HTTP 503: ServiceUnavailable: try again"),
        (answer(500, "InternalFailure", "failed"), TransientError, "InternalFailure: failed"),
        (answer(530, "InternalDependencyException", "failed"), TransientError, "InternalDependencyException"),
        (answer(400, "ValidationError", "bad body"), RejectedError, "ValidationError: bad body"),
        (answer(400, "ValidationError", "Endpoint e of account 1 not found."), NotServedError, "check the name, the region"),
        (answer(400, "ValidationError", "Variant v does not exist"), NotServedError, "check the name"),
        (
            answer(400, "ValidationError", "Inference Component Name header is required for endpoints to which …"),
            NotServedError,
            "add &component=NAME",
        ),
        (
            answer(400, "ValidationException", "Member must have length less than or equal to 6291456"),
            RequestTooLargeError,
            "6291456",
        ),
        (answer(413, "", "too long"), RequestTooLargeError, "HTTP 413: too long"),
        (answer(403, "ExpiredTokenException", "expired"), NotServedError, "renew the AWS credentials"),
        (answer(403, "InvalidSignatureException", "Signature expired"), NotServedError, "this machine's clock"),
        (answer(403, "AccessDeniedException", "not authorized"), NotServedError, "sagemaker:InvokeEndpoint"),
        (answer(404, "UnknownOperationException", ""), NotServedError, "HTTP 404: UnknownOperationException"),
        (of_model(400, '{"error": "no column a"}'), RejectedError, r"\(its container\): HTTP 400: no column a"),
        (of_model(500, "ZeroDivisionError"), ModelFailedError, "HTTP 500: ZeroDivisionError"),
        (of_model("?", "what"), ModelFailedError, "what"),
        (of_model(503, "no worker is free"), UnavailableError, "no worker is free"),
        (of_model(507, "out of memory"), TransientError, "out of memory"),
        (of_model(404, "no such model"), NotServedError, "no such model"),
        (of_model(0, "Your invocation timed out"), OverloadedError, "within SageMaker's 60 s: Your invocation timed out"),
        (of_model(0, "", "Your invocation timed out"), OverloadedError, "within SageMaker's 60 s"),
        (of_model(0, "the container broke"), ModelFailedError, "the container broke"),
    ],
)
def test_each_class(given: HttpResponse, kind: type[ModelError], said: str) -> None:
    error = error_of(WHERE, given)
    assert type(error) is kind
    assert re.search(said, str(error)), str(error)
    assert str(error).startswith(WHERE)
    if isinstance(error, TransientError):
        assert error.retry_after_s == 7
    assert not error.said or error.said in str(error)


@pytest.mark.parametrize(
    ("given", "there"),
    [
        (of_model(400, "empty"), True),
        (of_model(500, "empty"), True),
        (of_model(415, "what is this"), True),
        (answer(400, "ValidationError", "body is empty"), True),
        (of_model(503, "starting"), False),
        (of_model(0, ""), False),
        (answer(400, "ValidationError", "Endpoint e of account 1 not found."), False),
        (answer(400, "ThrottlingException", "Rate exceeded"), False),
        (answer(403, "AccessDeniedException", "no"), False),
        (answer(500, "InternalFailure", "no"), False),
        (answer(400, "", "a proxy"), False),
    ],
)
def test_an_empty_request_that_a_container_refuses_shows_that_it_is_there(given: HttpResponse, there: bool) -> None:
    assert is_of_container(given) is there


def test_where_the_name_of_an_error_stands() -> None:
    def named(body: Any, header: str = "") -> str:
        content = json.dumps(body).encode()
        return error_name(
            HttpResponse(400, content, None, "", "", CIMultiDict({"x-amzn-ErrorType": header} if header else {}))
        )

    assert named({}, "ModelError:http://internal.amazon.com/coral/") == "ModelError"
    assert named({"__type": "com.amazonaws.sagemaker#ValidationError"}) == "ValidationError"
    assert named({"code": "ThrottlingException"}) == "ThrottlingException"
    assert named({"code": 400}) == named([]) == named({}, "not a name\x7f") == ""


def test_contents_of_records_are_left_out() -> None:
    error = error_of(WHERE, of_model(400, "could not convert string to float: 'secret'"))
    assert "secret" not in str(error)
    body = json.dumps({"detail": [{"loc": ["x"], "msg": "required", "input": "secret"}]})
    error = error_of(WHERE, of_model(422, body, f'Received client error (422) from primary with message "{body}".'))
    assert "secret" not in str(error)
    assert "x: required" in str(error)
