"""What the client of another package says of a model, at the start and while the job runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from transforms.clients.base import ModelClient
from transforms.clients.checked import ask_metadata
from transforms.clients.imported import ClientMistakeError
from transforms.errors import ModelError, NotServedError, UnavailableError
from transforms.predict.endpoint import Endpoint
from transforms.types import METHOD_PREDICT, Answer, ModelMetadata, Signature, TensorSpec

X = TensorSpec("float32", (-1, 2))
RIGHT = ModelMetadata("m", "1", Signature("s", METHOD_PREDICT, {"x": X}, {"y": X}))


class Outside(ModelClient):
    """Answers or raises what it is told to."""

    def __init__(self, says: Any):
        self.says = says

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        if isinstance(self.says, Exception):
            raise self.says
        found: ModelMetadata = self.says
        return found

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is open."""


def metadata(model: Any = "m", version: Any = "1", max_rows: Any = None, **signature: Any) -> ModelMetadata:
    parts = {"name": "s", "method": METHOD_PREDICT, "inputs": {"x": X}, "outputs": {"y": X}} | signature
    return ModelMetadata(model, version, Signature(**parts), max_rows)


MISTAKES: dict[str, Any] = {
    "metadata returned NoneType, no ModelMetadata": None,
    "no ModelMetadata": ModelMetadata("m", "1", {}),  # type: ignore[arg-type]  # it is the point
    "model=NoneType, no text": metadata(model=None),
    "version=int, no text": metadata(version=3),
    r"signature\.name=bytes, no text": metadata(name=b"s"),
    r"signature\.method=bool, no text": metadata(method=True),
    "inputs in a list, no mapping": metadata(inputs=[X]),
    "an input that is no name and TensorSpec": metadata(inputs={"x": "float32"}),
    "an output that is no name and TensorSpec": metadata(outputs={b"y": X}),
    "a shape that is no tuple of integers": metadata(inputs={"x": TensorSpec("float32", (-1, 2.5))}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("said", MISTAKES)
def test_another_type_is_a_mistake_of_the_client(said: str) -> None:
    with pytest.raises(ClientMistakeError, match=said):
        asyncio.run(ask_metadata(Outside(MISTAKES[said]), 1.0))


def test_what_is_right_is_left_as_it_is() -> None:
    assert asyncio.run(ask_metadata(Outside(RIGHT), 1.0)) == RIGHT


def test_a_limit_of_rows_must_be_one() -> None:
    with pytest.raises(NotServedError, match="takes 0 rows"):
        asyncio.run(ask_metadata(Outside(metadata(max_rows=0)), 1.0))


FIXED, ANY, UNKNOWN = TensorSpec("float32", (8, 10)), TensorSpec("float32", (-1, 10)), TensorSpec("float32", None)
TOLD = "m: the shape of input x begins with 8, which is the number of rows of every request"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (metadata(inputs={"x": FIXED}, outputs={}), "if the model takes 8 and no other number, declare the outputs, too"),
        (metadata(inputs={"x": FIXED}, outputs={"y": FIXED, "z": UNKNOWN}), "declare the shape of output z, too"),
        (metadata(inputs={"x": FIXED, "w": TensorSpec("bool", (4,))}, outputs={"y": FIXED}), "and that of w with 4"),
        (metadata(inputs={"x": FIXED}, outputs={"y": FIXED}, max_rows=1), "and a request takes 1 at most"),
    ],
)
def test_a_fixed_batch_size_that_no_answer_could_fit_is_refused(found: ModelMetadata, said: str) -> None:
    """Every record was a dead letter."""
    with pytest.raises(NotServedError) as told:
        asyncio.run(ask_metadata(Outside(found), 1.0))
    assert str(told.value).startswith(TOLD)
    assert said in str(told.value)
    assert "-1 stands for any number" in str(told.value)


@pytest.mark.parametrize(
    "found",
    [
        metadata(inputs={"x": FIXED}, outputs={"y": FIXED}, max_rows=8),
        metadata(inputs={"x": FIXED, "w": ANY}, outputs={"y": ANY}),
        metadata(inputs={"x": FIXED, "w": TensorSpec("bool", (4,), has_default=True)}, outputs={"y": FIXED}),
        metadata(inputs={"x": TensorSpec("float32", (1, 10))}, outputs={}),
        metadata(inputs={"x": ANY, "w": UNKNOWN}, outputs={}),
    ],
)
def test_a_batch_size_that_fits_is_taken(found: ModelMetadata) -> None:
    assert asyncio.run(ask_metadata(Outside(found), 1.0)) == found


def test_a_version_is_one_short_line() -> None:
    found = asyncio.run(ask_metadata(Outside(metadata(version="1\x1b[31m\ud800" + "x" * 5000)), 1.0))
    assert found.version.startswith(r"1\x1b[31m\ud800xx")
    assert len(found.version) <= 101


@pytest.mark.parametrize(
    ("says", "error", "said"),
    [
        (ValueError("secret"), NotServedError, "the client's metadata raised ValueError in metadata"),
        (RecursionError(), NotServedError, "RecursionError"),
        (None, NotServedError, "ClientMistakeError"),
        (ConnectionResetError("secret"), UnavailableError, "ConnectionResetError"),
        (UnavailableError("down"), UnavailableError, "down"),
    ],
)
def test_while_the_job_runs_it_is_a_model_error_for_which_it_holds(says: Any, error: type[ModelError], said: str) -> None:
    """Not an end of the job, nor of the look whether the server is there; and without the text, which may hold a record."""
    endpoint = Endpoint(lambda: Outside(says), RIGHT.signature, 1.0)
    with pytest.raises(error, match=said) as caught:
        asyncio.run(endpoint.metadata())
    assert "secret" not in str(caught.value)
