"""Models whose shapes have no batch dimension: one record a request, in the shape as it is declared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.clients.checked import ask_metadata
from transforms.clients.open_inference.unbatched import has_no_batch_dimension, is_unbatched
from transforms.decode.decoder import Decoder
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError
from transforms.testing.contract import TIMEOUT_S
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.open_inference.http_stub import OipHttpStub, OipJsonStub
from transforms.testing.stub_model import StubModel
from transforms.types import METHOD_PREDICT, KafkaRecord, Signature, TensorSpec

Shape = tuple[int, ...]
Stub = OipGrpcStub | OipHttpStub


def signature_of(inputs: list[Shape], outputs: list[Shape]) -> Signature:
    takes, gives = ({f"t{at}": TensorSpec("float32", shape) for at, shape in enumerate(side)} for side in (inputs, outputs))
    return Signature("infer", METHOD_PREDICT, takes, gives)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([(4,)], [(3,)]),  # neither is a number of rows that the other could have
        ([(4,)], [()]),
        ([(4, 2)], [(3, 2), ()]),
        ([(4,), (3,)], []),  # two inputs that never have the same number of rows
        ([(1, 4), (3,)], [(1,)]),
        ([(-1,)], [(3,)]),  # of any length, and what comes is not of the same
        ([(-1, 4), (3,)], [(2,)]),
    ],
)
def test_shapes_that_no_number_of_rows_fits(inputs: list[Shape], outputs: list[Shape]) -> None:
    assert has_no_batch_dimension(signature_of(inputs, outputs))


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([(-1, 4)], [(-1, 3)]),
        ([(-1, 4)], [(-1,), (7,)]),  # the second is one value for the whole request
        ([(1, 4)], [(1, 3)]),
        ([(1, 4)], [(3,)]),  # one record a request in any case
        ([(8, 4)], [(8, 3)]),  # a fixed batch of 8
        ([(8, 4), (-1,)], [(-1, 3)]),
        ([()], [(3,)]),  # a scalar: one record a request in any case
        ([(4,)], []),  # nothing is said of the outputs
        ([], [(3,)]),
    ],
)
def test_shapes_that_may_have_a_batch_dimension(inputs: list[Shape], outputs: list[Shape]) -> None:
    assert not has_no_batch_dimension(signature_of(inputs, outputs))


def of_unknown_rank() -> Signature:
    return Signature("infer", METHOD_PREDICT, {"x": TensorSpec("float32", (4,))}, {"y": TensorSpec("float32", None)})


def test_an_output_of_unknown_rank_may_have_one() -> None:
    assert not has_no_batch_dimension(of_unknown_rank())


# ---------------------------------------------------------------------- over the wire


@pytest.fixture(params=[OipGrpcStub, OipHttpStub, OipJsonStub])
def stub(request: pytest.FixtureRequest) -> Iterator[Stub]:
    with request.param() as stub:
        yield stub


def reversed_words() -> StubModel:
    """A weight for each of three features and a word; gives two sums and the word backwards."""

    def function(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert inputs["x"].shape == (3,)
        assert inputs["word"].shape == (1,)
        backwards = np.fromiter([word[::-1] for word in inputs["word"]], dtype=object, count=1)
        return {"sums": np.array([inputs["x"].sum(), inputs["x"].max()], np.float32), "backwards": backwards.reshape(())}

    takes = {"x": TensorSpec("float32", (3,)), "word": TensorSpec("string", (1,))}
    return StubModel.of(takes, {"sums": TensorSpec("float32", (2,)), "backwards": TensorSpec("string", ())}, function)


def ask(uri: str, *records: Any) -> Any:
    """Sends records as the pipeline does: decoded by the signature, one request for each."""

    async def run() -> Any:
        async with open_client(uri) as client:
            metadata = await ask_metadata(client, TIMEOUT_S)
            assert (metadata.max_rows, metadata.signature.rows_per_request) == (1, 1)
            values = [json.dumps(record).encode() for record in records]
            kafka = [KafkaRecord("t", 0, offset, 0, None, value, []) for offset, value in enumerate(values)]
            chunk = Decoder(metadata.signature).decode(kafka)
            assert not chunk.failures
            answers = []
            for segment in chunk.segments:
                for at in range(len(segment.rows)):
                    row = {name: array[at : at + 1] for name, array in segment.tensors.items()}
                    answers.append((await client.predict(row, 1, TIMEOUT_S)).outputs)
            return answers

    return asyncio.run(run())


def test_a_record_is_sent_in_the_shape_as_declared(stub: Stub) -> None:
    stub.model = reversed_words()
    if isinstance(stub, OipJsonStub):
        pytest.skip("it has no max_batch_size: ?batch=none says it, below")
    found = ask(stub.uri(), {"x": [1, 2, 3], "word": ["cat"]}, {"x": [4, 5, 6], "word": ["dog"]})
    assert [answer["sums"].tolist() for answer in found] == [[[6, 3]], [[15, 6]]]
    assert [answer["backwards"].tolist() for answer in found] == [[b"tac"], [b"god"]]


def test_the_uri_says_it_where_the_shapes_do_not(stub: Stub) -> None:
    """Three in, three out: without it, three records of one number each."""
    spec = {"x": TensorSpec("float32", (3,))}
    stub.model = StubModel.of(spec, {"y": TensorSpec("float32", (3,))}, lambda inputs: {"y": inputs["x"] * 2})
    [answer] = ask(f"{stub.uri()}?batch=none", {"x": [1, 2, 3]})
    assert answer["y"].tolist() == [[2, 4, 6]]


@pytest.mark.parametrize("stub_class", [OipGrpcStub, OipHttpStub, OipJsonStub])
def test_the_error_at_the_start_names_the_uri_where_only_that_can_say_it(stub_class: type[Stub]) -> None:
    """Of a server that has no ``max_batch_size``: the answers could not be matched, and every record was a dead letter."""
    takes, gives = {"x": TensorSpec("float32", (4,))}, {"y": TensorSpec("float32", (3,))}
    model = StubModel.of(takes, gives, lambda inputs: {"y": inputs["x"][:3] * 2})

    async def as_it_is(uri: str) -> None:
        async with open_client(uri) as client:
            await client.metadata(TIMEOUT_S)

    with stub_class(model) as stub:
        if isinstance(stub, OipJsonStub):
            with pytest.raises(
                NotServedError, match=r"takes x: float32\[4\] and gives y: float32\[3\]: .*add \?batch=none to the"
            ):
                asyncio.run(as_it_is(stub.uri()))
        else:  # Triton's configuration says it
            asyncio.run(as_it_is(stub.uri()))
        [answer] = ask(f"{stub.uri()}?batch=none", {"x": [1, 2, 3, 4]})
        assert answer["y"].tolist() == [[2, 4, 6]]


@pytest.mark.parametrize(
    ("said", "max_batch_size", "shape", "unbatched"),
    [
        (True, None, (-1, 4), True),
        (True, 8, (4,), True),
        (False, 0, (4,), True),
        (False, 8, (4,), False),
        (False, None, (-1,), False),
    ],
)
def test_who_says_that_there_is_none(said: bool, max_batch_size: int | None, shape: Shape, unbatched: bool) -> None:
    """An output of one size beside a free batch may be one value for the whole request."""
    assert is_unbatched("m", said, max_batch_size, signature_of([shape], [(3,)])) == unbatched


def test_the_dead_letter_of_a_record_in_the_whole_shape_names_the_uri() -> None:
    """``[3]`` in and ``[3]`` out is taken for a batch of three numbers."""
    three = signature_of([(3,)], [(3,)])
    value = json.dumps({"t0": [1, 2, 3]}).encode()
    chunk = Decoder(three).decode([KafkaRecord("t", 0, 0, 0, None, value, [])])
    assert chunk.failures[0].message.startswith(
        "t0: expected one float32, came a list of 3; the model's first size, 3, is taken"
    )
    assert "?batch=none" in chunk.failures[0].message


def test_several_rows_are_refused(stub: Stub) -> None:
    async def work(client: ModelClient) -> None:
        await client.metadata(TIMEOUT_S)
        await client.predict({"x": np.ones((2, 3), np.float32)}, 2, TIMEOUT_S)

    stub.model = reversed_words()
    with pytest.raises(RejectedError, match="no batch dimension: a request takes one row, not 2"):
        asyncio.run(run(stub, work))


def test_an_answer_of_another_kind_is_malformed(stub: Stub) -> None:
    stub.model = reversed_words()
    stub.model.signatures = {
        name: (signature, lambda inputs: {"sums": np.fromiter([b"a", b"b"], dtype=object, count=2)})
        for name, (signature, _) in stub.model.signatures.items()
    }

    async def work(client: ModelClient) -> None:
        await client.metadata(TIMEOUT_S)
        word = np.fromiter([b"w"], dtype=object, count=1).reshape(1, 1)
        await client.predict({"x": np.ones((1, 3), np.float32), "word": word}, 1, TIMEOUT_S)

    with pytest.raises(MalformedAnswerError, match="output sums came as string"):
        asyncio.run(run(stub, work))


async def run(stub: Stub, work: Any) -> None:
    async with open_client(f"{stub.uri()}?batch=none") as client:
        await work(client)
