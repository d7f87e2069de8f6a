"""The table of status codes holds for every protocol: a line in it is all that a new rule takes."""

from __future__ import annotations

import pytest

from pipeline.embedded.http_status import HTTP_STATUS
from transforms.clients.json_http import client as json_http
from transforms.clients.mlflow import errors as mlflow
from transforms.clients.multi_model_server.errors import from_answer
from transforms.clients.open_inference import errors as open_inference
from transforms.clients.openai import errors as openai
from transforms.clients.sagemaker import errors as sagemaker
from transforms.clients.tf_runtime.serving_error import Code
from transforms.clients.tfserving import grpc as tfserving_grpc
from transforms.clients.vertex.errors import VertexRefusal, from_body
from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.status_codes import GRPC_ERRORS, HTTP_ERRORS, from_grpc_code, from_http_status, http_error
from transforms.clients.wire.tensorflow.serving_texts import SERVING_RULES
from transforms.errors import (
    BatchTooLargeError,
    MergedBatchError,
    ModelError,
    ModelFailedError,
    NotServedError,
    OverloadedError,
    RejectedError,
    RequestTooLargeError,
    TransientError,
    UnavailableError,
)

WHERE = "model m at h:1"
TRANSLATE = tfserving_grpc.translator(tfserving_grpc.parse("grpc://h:1/m"))


@pytest.mark.parametrize("status", [*range(300, 600), 999])
def test_every_protocol_over_http_follows_the_table(status: int) -> None:
    """With an answer that says nothing but its status; so ``423: TransientError`` in the table is a retry for all."""
    errors: list[ModelError] = [
        from_http_status(WHERE, status, ""),
        from_http_status(WHERE, status, "", None, SERVING_RULES),
        open_inference.from_http(WHERE, status, b""),
        from_answer(WHERE, HttpResponse(status, b"", None, "", "", {})),
        json_http.from_answer(WHERE, HttpResponse(status, b"", None, "", "", {})),
        openai.from_answer(WHERE, HttpResponse(status, b"", None, "", "", {})),
        mlflow.from_answer(WHERE, HttpResponse(status, b"", None, "", "", {})),
        from_body(status, None, "", None).error(WHERE),
        sagemaker.error_of(WHERE, HttpResponse(status, b"", None, "", "", {})),
    ]
    assert {type(error) for error in errors} == {http_error(status)}


@pytest.mark.parametrize("code", [*GRPC_ERRORS, "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"])
def test_every_protocol_over_grpc_follows_the_table(code: str) -> None:
    errors = [
        from_grpc_code(WHERE, code, "because"),
        TRANSLATE(WHERE, code, "because"),
        open_inference.from_grpc(WHERE, code, "because"),
        VertexRefusal(code, "because").error(WHERE),
    ]
    assert {type(error) for error in errors} == {GRPC_ERRORS.get(code, NotServedError)}
    assert all("because" in str(error) for error in errors)


@pytest.mark.parametrize(("statuses", "error"), [(range(300, 500), NotServedError), (range(500, 600), TransientError)])
def test_what_is_in_no_table(statuses: range, error: type[ModelError]) -> None:
    """Whichever they are: a new line of the table takes its status out of this."""
    others = [status for status in statuses if status not in HTTP_ERRORS]
    assert others
    assert {http_error(status) for status in others} == {error}


@pytest.mark.parametrize(
    ("code", "text", "not_run"),
    [
        (429, "", True),
        (503, "", True),
        (502, "", False),
        (504, "", False),
        (500, "", False),
        (408, "", False),
        (502, "the batch scheduling queue to which this task was submitted is full", True),
        ("RESOURCE_EXHAUSTED", "", True),
        ("UNAVAILABLE", "Socket closed", False),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1", True),
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", True),
        ("DEADLINE_EXCEEDED", "", False),
        ("INTERNAL", "", False),
    ],
)
def test_whether_a_model_has_worked_on_the_request(code: int | str, text: str, not_run: bool) -> None:
    """Its tokens are counted unless it is certain that none has."""
    errors = [from_grpc_code(WHERE, code, text)] if isinstance(code, str) else [from_http_status(WHERE, code, text)]
    if isinstance(code, int) and not text:  # Google's codes have one for several statuses
        errors.append(from_body(code, None, "", None).error(WHERE))
    for error in errors:
        assert isinstance(error, TransientError)
        assert error.not_run is not_run


def test_what_is_in_the_table() -> None:
    assert {status: http_error(status) for status in HTTP_ERRORS} == HTTP_ERRORS


@pytest.mark.parametrize("code", [code for code in HTTP_STATUS if HTTP_STATUS[code] != 200])
def test_a_code_means_the_same_over_rest_and_grpc(code: Code) -> None:
    """By the statuses that TensorFlow Serving makes of its codes: what became of a record can't depend on the port."""
    for rules in ((), SERVING_RULES):
        over_grpc = from_grpc_code(WHERE, code.name, "because", rules=rules)
        over_rest = from_http_status(WHERE, HTTP_STATUS[code], "because", rules=rules)
        assert type(over_grpc) is type(over_rest)


RAGGED = (
    "Tensors with name 'x:0' from different tasks have different shapes and padding is turned off."
    "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
    "have equal dimensions starting with the first dim."
)


def test_a_batch_that_the_server_merged_blames_none_of_its_requests() -> None:
    """batching_session.cc: every request of the batch gets this answer, whichever of them has another shape."""
    errors = [
        TRANSLATE(WHERE, "FAILED_PRECONDITION", RAGGED),
        from_http_status(WHERE, 400, RAGGED, None, SERVING_RULES),
        VertexRefusal("FAILED_PRECONDITION", RAGGED).error(WHERE),
    ]
    assert [type(error) for error in errors] == [MergedBatchError] * 3
    assert "--max_in_flight=1" in str(errors[0])


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("Task size 64 is larger than maximum input batch size 32", 32),
        ("Task size 64 is larger than maximum batch size 32", 32),
        ("Task size is larger than maximum batch size", None),
        ("[request id: 5] inference request batch-size must be <= 8 for 'm'", 8),
        ("batch size must be <= 16", 16),
    ],
)
def test_a_limit_of_rows_is_read_where_the_server_says_it(text: str, most: int | None) -> None:
    for error in (from_http_status(WHERE, 400, text), open_inference.from_grpc(WHERE, "INVALID_ARGUMENT", text)):
        assert isinstance(error, BatchTooLargeError)
        assert error.most_rows == most


@pytest.mark.parametrize(
    ("error", "takes"),
    [
        (from_http_status(WHERE, 413, "Maximum request body size 1000 exceeded, actual body size 4000"), 0.25),
        (from_http_status(WHERE, 413, "Payload too large"), None),
        (from_grpc_code(WHERE, "RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (80 vs. 60)"), 0.75),
        (from_grpc_code(WHERE, "RESOURCE_EXHAUSTED", "grpc: received message larger than max (80 vs 60)"), 0.75),
        (from_grpc_code(WHERE, "RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 60: 80"), 0.75),
        (from_grpc_code(WHERE, "RESOURCE_EXHAUSTED", "Received message larger than max (60 vs. 60)"), None),
        (from_grpc_code(WHERE, "RESOURCE_EXHAUSTED", "Received message larger than max"), None),
    ],
)
def test_a_limit_of_bytes_is_read_where_the_server_says_it(error: ModelError, takes: float | None) -> None:
    assert type(error) is RequestTooLargeError
    assert error.takes == takes


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (503, "The batch scheduling queue to which this task was submitted is full", OverloadedError),
        (503, "down", UnavailableError),
        (500, "KeyError : 'x'", ModelFailedError),
        (500, "out of memory", TransientError),
        (400, 'Serving signature name: "s" not found', RejectedError),
    ],
)
def test_texts_that_every_server_may_say(status: int, text: str, error: type[ModelError]) -> None:
    assert type(from_http_status(WHERE, status, text)) is error


def test_a_text_of_tensorflow_serving_counts_where_it_is_reached() -> None:
    text = 'Serving signature name: "s" not found in signature def'
    assert type(from_http_status(WHERE, 400, text, None, SERVING_RULES)) is NotServedError
    assert type(from_grpc_code(WHERE, "INVALID_ARGUMENT", text, None, SERVING_RULES)) is NotServedError
    assert type(VertexRefusal("INVALID_ARGUMENT", text).error(WHERE)) is NotServedError  # the container may be one


def test_how_long_to_wait_travels_with_what_is_tried_again() -> None:
    for error in (from_http_status(WHERE, 429, "", 7.0), from_grpc_code(WHERE, "UNAVAILABLE", "", 7.0)):
        assert isinstance(error, TransientError)
        assert error.retry_after_s == 7.0


def test_a_cure_is_added_and_a_misleading_text_replaced() -> None:
    too_large = from_grpc_code(WHERE, "RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)")
    assert type(too_large) is RequestTooLargeError
    assert str(too_large).endswith("(5 vs. 4)"), "smaller requests are the caller's own cure, where there are several rows"
    answer = from_grpc_code(WHERE, "RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (5 vs. 4)")
    assert str(answer).endswith("(5 vs. 4); raise --max_answer_bytes")
    http1 = TRANSLATE(WHERE, "UNAVAILABLE", "Trying to connect an http1.x server")
    assert type(http1) is NotServedError
    assert (
        str(http1) == f"{WHERE}: it speaks HTTP/1, not gRPC; for TensorFlow Serving's REST port use http://h:1/v1/models/m"
    )
