"""Error texts that repeat the request are left out, whatever form it has in them; others are kept, for people need them."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.dispatching import dispatcher, run
from tests.fake_model import Call, FakeModel
from transforms.errors import InternalError, ModelError, RejectedError, TransientError
from transforms.predict.echoes import LEFT_OUT, hide_echo, repeats
from transforms.predict.options import DEAD_LETTER
from transforms.predict.spans import Span
from transforms.types import Answer

ROWS = [
    {"name": "Margaret Hamilton", "country": "DE", "age": 42, "amount": 3.5},
    {"name": "Ada Lovelace", "country": "UK", "age": 36, "amount": 1234567.891},
]
PIXELS = np.random.default_rng(7).integers(0, 256, (2, 28, 28)).astype(np.uint8)
FLOATS = np.array([[0.125, 7.5, -3.25e-05], [1.0, 2.0, 3.0]], np.float32)
BLOB = bytes(range(128, 256)) * 3


def strings(*values: object) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


COLUMNS = {
    "name": strings(*(row["name"].encode() for row in ROWS)),  # type: ignore[attr-defined]  # a text
    "country": strings(b"DE", b"UK"),
    "age": np.array([42, 36]),
    "amount": np.array([3.5, 1234567.891]),
}
DOCUMENTS = {"instances": strings(*ROWS)}
NUMBERS = {"x": FLOATS}
IMAGES = {"image": PIXELS}
STREET = "Straße der Pariser Kommune".encode()
BYTES = {"body": strings(BLOB, b"text of a letter, from one person to another")}


@pytest.mark.parametrize(
    ("said", "inputs"),
    [
        (json.dumps({"instances": ROWS}), DOCUMENTS),
        (f"can't handle {ROWS}", DOCUMENTS),
        (json.dumps({"instances": ROWS}), COLUMNS),
        ('bad row {"country": "UK", "age": 36}', COLUMNS),
        ("bad row {'country': 'UK', 'age': 36}", DOCUMENTS),
        ("row is {'age': 36}", COLUMNS),
        ("no such country: 'UK'", COLUMNS),
        ("unknown person Ada Lovelace", COLUMNS),
        ("amount 1234567.891 is too high", COLUMNS),
        ("Row(amount=3.5)", COLUMNS),
        (f"values {FLOATS.tolist()}", NUMBERS),
        (f"values {FLOATS!r}", NUMBERS),
        ("-3.25e-05 is out of range", NUMBERS),
        ("got 1.0 2.0 3.0", NUMBERS),
        (f"invalid image: {PIXELS[1].tolist()}"[:300], IMAGES),
        (f"invalid tensor: {PIXELS[0].tobytes()!r}"[:300], IMAGES),
        (f"invalid tensor: {BLOB!r}"[:300], BYTES),
        ("tensor_content: \"" + "".join(f"\\{byte:03o}" for byte in FLOATS.tobytes()) + '"', NUMBERS),
        ('{"b64": "' + base64.b64encode(BLOB).decode()[:200], BYTES),
        ('{"b64": "' + base64.b64encode(b"text of a letter, from one person to another").decode(), BYTES),
        (f"could not parse {BLOB.hex()}"[:300], BYTES),
        (f"could not parse {STREET!r}", {"s": strings(STREET)}),
        ("could not parse: …  from one person to  another", BYTES),
    ],
)  # fmt: skip
def test_what_repeats_the_request(said: str, inputs: Mapping[str, np.ndarray]) -> None:
    assert repeats(said, [inputs])
    error = RejectedError(f"model m at h:1: HTTP 400: {said}; lower --batch_max_size")
    error.said = said
    hide_echo(error, [NUMBERS if inputs is not NUMBERS else IMAGES, inputs])
    assert str(error) == f"model m at h:1: HTTP 400: {LEFT_OUT}; lower --batch_max_size"
    assert error.said == ""


@pytest.mark.parametrize("inputs", [COLUMNS, DOCUMENTS, NUMBERS, IMAGES, BYTES])
@pytest.mark.parametrize(
    "said",
    [
        "",
        "injected fault: a row of the batch is poison",
        "The batch scheduling queue to which this task was submitted is full",
        "input must be 4-dimensional[64,28,28] [[{{node StatefulPartitionedCall/model/conv2d/Conv2D}}]]",
        "Matrix size-incompatible: In[0]: [64,3], In[1]: [784,10]",
        "Task size 128 is larger than maximum input batch size 64",
        "batch-size must be <= 8",
        "unexpected shape for input 'x' for model 'fraud'. Expected [-1,3], got [2,4].",
        "Servable not found for request: Specific(fraud, 7)",
        "Received message larger than max (4194349 vs. 4194304)",
        'Traceback (most recent call last): File "/home/model-server/model.py", line 128, in predict -----------------',
        "model x: 2 rows, age: a number is wanted",
        "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
    ],
)
def test_what_a_server_says_of_its_own(said: str, inputs: Mapping[str, np.ndarray]) -> None:
    assert not repeats(said, [inputs])


def test_a_message_is_bounded_however_long_a_servers_names_are() -> None:
    assert len(str(ModelError("output " + "x" * 10_000_000))) < 1100


def echoing(kind: type[ModelError], *, if_has: float | None = None) -> FakeModel:
    """A server that answers with the whole request in its text; only requests with a value, if one is given."""

    async def behaviour(call: Call) -> Answer:
        x = call.inputs["x"]
        if if_has is not None and if_has not in x:
            return Answer({"y": 2 * x}, "7")
        said = str(x.tolist())
        error = kind(f"model m at h:1: {said}")
        error.said = said
        raise error

    return FakeModel(behaviour)


@pytest.mark.parametrize("show", [str, repr, lambda error: str(pickle.loads(pickle.dumps(error)))])
def test_a_text_is_looked_through_once_and_only_if_it_is_shown(show: Callable[[ModelError], str]) -> None:
    """Most errors of a search are never shown, and to look through a text costs more than a request."""
    looks: list[str] = []

    class Inputs(dict[str, np.ndarray]):
        def values(self) -> Any:
            looks.append("at the values of the request")
            return super().values()

    def failed() -> ModelError:
        error = TransientError("HTTP 500: no amount 1234567.891", 2.0)
        error.said = "no amount 1234567.891"
        hide_echo(error, iter([Inputs(COLUMNS)]))
        return error

    assert failed().own_words == "HTTP 500: (what the server said is about several records)"
    failed().hide("")
    assert looks == []
    error = failed()
    for _ in range(2):
        assert LEFT_OUT in show(error)
        assert "1234567" not in show(error)
    assert len(looks) == 1


@pytest.mark.parametrize("kind", [RejectedError, TransientError])
def test_a_guilty_rows_failure_has_nothing_of_its_neighbours(kind: type[ModelError]) -> None:
    async def ask() -> list[str]:
        made = dispatcher(echoing(kind, if_has=666.25))
        x = np.arange(8, dtype=np.float32).reshape(8, 1) + 100.125
        x[5] = 666.25
        results = await made.answer({"x": x}, 8)
        await made.close()
        assert sum(result.rows for result in results if result.failure is None) == 7
        return [result.failure.message for result in results if result.failure is not None]

    [message] = run(ask())
    assert message == f"model m at h:1: {LEFT_OUT}"


def test_rows_that_get_no_answer_together_have_nothing_of_each_other() -> None:
    """With on_unavailable=dead_letter all rows of a request share its error, whatever form the server repeats it in."""

    async def behaviour(call: Call) -> Answer:
        said = f"rot13 of {len(call.inputs['x'])} rows: Znetnerg Unzvygba"
        error = TransientError(f"model m at h:1: HTTP 503: {said}")
        error.said = said
        raise error

    async def ask() -> set[str]:
        made = dispatcher(FakeModel(behaviour), on_unavailable=DEAD_LETTER)
        results = await made.answer({"x": np.ones((8, 1), np.float32)}, 8)
        await made.close()
        return {result.failure.message for result in results if result.failure is not None}

    for message in run(ask()):
        assert "Znetnerg" not in message
        assert message.startswith("model m at h:1: HTTP 503: (what the server said")


def test_an_error_of_our_own_code_has_no_text_of_the_server() -> None:
    assert Span.of({"x": FLOATS}, 2).blamed(InternalError("the client raised KeyError")).failure is not None
