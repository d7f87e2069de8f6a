"""The REST client against a real KServe Python server, whose V1 protocol is TensorFlow Serving's in part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from tests.clients.tfserving.test_rest import instances
from tests.dispatching import by_row
from tests.servers.kserve_v1 import MODEL, kserve_v1
from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.decode.decoder import Decoder
from transforms.errors import ModelFailedError, NotServedError, RejectedError, UnavailableError
from transforms.predict.batching import RowsResult
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.types import KafkaRecord

T = TypeVar("T")
TIMEOUT_S = 20.0
POISON = -999.0
ROW = [1.0, 2.0, 3.0, 4.0]
HALF_PLUS_TWO = [2.5, 3.0, 3.5, 4.0]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with kserve_v1() as address:
        yield address


def uri(server: str, model: str = MODEL) -> str:
    return f"http://{server}/v1/models/{model}"


def use(server: str, work: Callable[[ModelClient], Awaitable[T]], model: str = MODEL) -> T:
    async def with_client() -> T:
        async with open_client(uri(server, model)) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(with_client())


def predict(server: str, *documents: Any) -> Any:
    return use(server, lambda client: client.predict(instances(*documents), len(documents), TIMEOUT_S)).outputs


def test_metadata(server: str) -> None:
    """It publishes neither a signature nor a version."""

    async def work(client: ModelClient) -> Any:
        return await client.metadata(TIMEOUT_S)

    metadata = use(server, work)
    assert (metadata.model, metadata.version, metadata.signature.known) == (MODEL, "", False)


@pytest.mark.parametrize("model", ["other", f"{MODEL}/versions/1"])
def test_an_unknown_model_or_any_version(server: str, model: str) -> None:
    async def work(client: ModelClient) -> None:
        raise AssertionError

    with pytest.raises(NotServedError):
        use(server, work, model)


def test_a_model_that_is_gone(server: str) -> None:
    async def work() -> None:
        async with open_client(uri(server, "other")) as client:
            with pytest.raises(NotServedError, match="Model with name other does not exist"):
                await client.predict(instances(ROW), 1, TIMEOUT_S)

    asyncio.run(work())


def test_predictions(server: str) -> None:
    assert predict(server, ROW, [0, 0, 0, 0]) == {"predictions": [HALF_PLUS_TWO, [2, 2, 2, 2]]}
    assert predict(server, {"x": ROW}) == {"y": [HALF_PLUS_TWO]}


def test_records_as_the_pipeline_decodes_them(server: str) -> None:
    async def work(client: ModelClient) -> Any:
        decoder = Decoder((await client.metadata(TIMEOUT_S)).signature)
        records = [KafkaRecord("t", 0, n, 0, None, value, []) for n, value in enumerate([b"[1,2,3,4]", b"[0, 0, 0, 4e0]"])]
        [segment] = decoder.decode(records).segments
        return await client.predict(segment.tensors, 2, TIMEOUT_S)

    assert use(server, work).outputs == {"predictions": [HALF_PLUS_TWO, [2, 2, 2, 4]]}


def test_it_takes_no_nan(server: str) -> None:
    """Its parser is strict: a record with NaN is refused, and the rest of its batch can be bisected from it."""
    with pytest.raises(RejectedError, match="HTTP 400"):
        predict(server, ROW, [float("nan"), 0, 0, 0])


def test_what_it_can_not_write_comes_as_null(server: str) -> None:
    """Infinity among a model's answers; it stays null in the record that is written."""
    assert predict(server, [1e308, 0, 0, 0], [1.7e308, 0, 0, 0])["predictions"][0][0] == 5e307
    assert predict(server, ["overflow", 0, 0, 0]) == {"predictions": [[None, 2, 2, 2]]}


def test_invalid_input_is_rejected_and_a_raising_model_is_not(server: str) -> None:
    with pytest.raises(RejectedError, match="HTTP 400: expected 4 numbers, came 2"):
        predict(server, ROW, [1, 2])
    with pytest.raises(ModelFailedError, match="HTTP 500: ValueError : a poisoned row"):
        predict(server, ROW, [POISON, 0, 0, 0])


def test_what_the_model_raises_may_quote_the_record_which_is_not_told_on(server: str) -> None:
    with pytest.raises(ModelFailedError, match="HTTP 500: ValueError") as caught:
        predict(server, ["secret-payload", 0, 0, 0])
    assert "secret-payload" not in str(caught.value)


def test_many_in_flight_each_get_their_own_answer(server: str) -> None:
    async def work(client: ModelClient) -> list[Any]:
        return await asyncio.gather(
            *(client.predict(instances([float(n)] * 4, [0.0] * 4), 2, TIMEOUT_S) for n in range(150))
        )

    for n, answer in enumerate(use(server, work)):
        assert answer.outputs == {"predictions": [[0.5 * n + 2] * 4, [2.0] * 4]}


def test_only_poison_rows_fail_though_their_batches_are_answered_by_500(server: str) -> None:
    guilty = {0, 17, 63}
    rows = [[POISON if n in guilty else float(n), 0.0, 0.0, 0.0] for n in range(64)]

    async def work() -> list[list[RowsResult]]:
        client = open_client(uri(server))
        options = DispatchOptions(TIMEOUT_S, RetryPolicy(deadline_s=0.5, cap_s=0.1))
        asked = Dispatcher(client, (await client.metadata(TIMEOUT_S)).signature, options)
        try:
            return [await asked.answer(instances(*rows[at : at + 32]), 32) for at in (0, 32)]
        finally:
            await asked.close()

    found = []
    for outcomes in asyncio.run(work()):
        for outcome in outcomes:
            outcome.outputs = {"y": outcome.outputs["predictions"]} if outcome.outputs else None
        found += by_row(outcomes, 32)
    assert found == ["ServerError" if n in guilty else 0.5 * n + 2 for n in range(64)]


def test_nobody_there(server: str) -> None:
    async def work() -> None:
        async with open_client(f"http://127.0.0.1:1/v1/models/{MODEL}") as client:
            with pytest.raises(UnavailableError):
                await client.metadata(TIMEOUT_S)

    asyncio.run(work())


def test_a_batch_of_many_rows(server: str) -> None:
    rows = np.arange(4000, dtype=float).reshape(1000, 4).tolist()
    (y,) = predict(server, *rows).values()
    np.testing.assert_array_equal(y, 0.5 * np.array(rows) + 2)
