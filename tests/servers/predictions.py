"""What must hold against the real servers of ``/predictions/MODEL``; multi-model-server's and TorchServe's tests run it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import aiohttp
import numpy as np
import pytest

from tests.clients.tfserving.test_rest import instances
from tests.dispatching import by_row
from tests.servers.multi_model_server import MAX_REQUEST_BYTES, MODEL, Address
from transforms.clients import open_client
from transforms.clients.base import ModelClient
from transforms.decode.decoder import Decoder
from transforms.errors import ModelFailedError, NotServedError, RejectedError, UnavailableError
from transforms.predict.batching import RowsResult
from transforms.predict.dispatch import Dispatcher
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.types import KafkaRecord, ModelMetadata

T = TypeVar("T")
TIMEOUT_S = 20.0
POISON = -999.0
ROW = [1.0, 2.0, 3.0, 4.0]
HALF_PLUS_TWO = [2.5, 3.0, 3.5, 4.0]


class PredictionsServer:
    """Tests of one real server.

    Attributes:
        start: Runs the server.
        batch_size: Requests that it puts together for one call of the handler, at most.
    """

    start: Callable[..., AbstractContextManager[Address]]
    batch_size: int

    @pytest.fixture(scope="class")
    def server(self) -> Iterator[Address]:
        with type(self).start(batch_size=self.batch_size) as address:
            yield address

    def uri(self, server: Address, path: str = MODEL, query: str = "") -> str:
        return f"mms+http://{server.inference}/{path}?management={server.management}{query}"

    def use(self, uri: str, work: Callable[[ModelClient], Awaitable[T]]) -> T:
        async def with_client() -> T:
            async with open_client(uri) as client:
                await client.metadata(TIMEOUT_S)
                return await work(client)

        return asyncio.run(with_client())

    def metadata(self, uri: str) -> ModelMetadata:
        async def read() -> ModelMetadata:
            async with open_client(uri) as client:
                return await client.metadata(TIMEOUT_S)

        return asyncio.run(read())

    def predict(self, uri: str, document: Any) -> Any:
        return self.use(uri, lambda client: client.predict(instances(document), 1, TIMEOUT_S)).outputs

    # ---- metadata

    def test_metadata(self, server: Address) -> None:
        metadata = self.metadata(self.uri(server))
        assert (metadata.model, metadata.version, metadata.max_rows) == (MODEL, "1.0", 1)
        assert not metadata.signature.known
        assert self.metadata(self.uri(server, f"{MODEL}/1.0")).version == "1.0"

    def test_without_the_management_api_the_version_is_not_known(self, server: Address) -> None:
        assert self.metadata(f"mms+http://{server.inference}/{MODEL}").version == ""

    def test_an_unknown_model_and_version(self, server: Address) -> None:
        for uri in (self.uri(server, "other"), f"mms+http://{server.inference}/other"):
            with pytest.raises(NotServedError, match="Model not found: other"):
                self.metadata(uri)
        with pytest.raises(NotServedError, match=r"there are 1\.0 \(READY\)"):
            self.metadata(self.uri(server, f"{MODEL}/7.0"))

    # ---- bodies and answers

    @pytest.mark.parametrize(
        ("query", "document", "outputs"),
        [
            ("", ROW, {"predictions": [HALF_PLUS_TWO]}),
            ("", {"x": ROW}, {"y": [HALF_PLUS_TWO]}),
            ("", "a text", {"predictions": [b"A TEXT"]}),
            ("", {"b64": "cmF3Ov8A"}, {"predictions": [b"\x00\xff:war"]}),
            ("&body=json", {"b64": "cmF3Ov8A"}, {"bytes": [6]}),
            ("&body=multipart", ROW, {"predictions": [HALF_PLUS_TWO]}),
            ("&body=multipart", {"x": ROW}, {"predictions": [HALF_PLUS_TWO]}),
            ("&body=multipart", {"x": "a text"}, {"predictions": [b"A TEXT"]}),
            ("&body=multipart", {"b64": "cmF3Ov8A"}, {"predictions": [b"\x00\xff:war"]}),
        ],
    )
    def test_bodies_reach_the_handler_and_its_answers_come_back(
        self, server: Address, query: str, document: Any, outputs: Any
    ) -> None:
        assert self.predict(self.uri(server, query=query), document) == outputs

    def test_not_a_number_both_ways(self, server: Address) -> None:
        (y,) = self.predict(self.uri(server), [float("nan"), float("inf"), float("-inf"), 0])["predictions"]
        np.testing.assert_array_equal(y, [np.nan, np.inf, -np.inf, 2])

    def test_records_read_as_bytes(self, server: Address) -> None:
        uri = self.uri(server, query="&body=bytes")
        record = KafkaRecord("t", 0, 0, 0, None, b"raw:\xff\x00", [])
        [segment] = Decoder(self.metadata(uri).signature).decode([record]).segments
        answer = self.use(uri, lambda client: client.predict(segment.tensors, 1, TIMEOUT_S))
        assert (answer.outputs, answer.version) == ({"predictions": [b"\x00\xff:war"]}, "1.0")

    # ---- errors

    def test_what_the_handler_refuses(self, server: Address) -> None:
        with pytest.raises(RejectedError, match="HTTP 400: expected 4 numbers, came 2"):
            self.predict(self.uri(server), [1, 2])

    def test_what_makes_the_handler_raise(self, server: Address) -> None:
        with pytest.raises(ModelFailedError, match="HTTP 503: Prediction failed"):
            self.predict(self.uri(server), [POISON, 0, 0, 0])

    @pytest.mark.parametrize("times", [1, 20])
    def test_a_request_too_large(self, server: Address, times: int) -> None:
        with pytest.raises(RejectedError, match="HTTP 413"):
            self.predict(self.uri(server), "x" * (MAX_REQUEST_BYTES * times + 1))

    def test_a_model_without_a_worker_is_an_outage(self, server: Address) -> None:
        """Also a 503, but told apart from a handler that raised."""

        async def work() -> None:
            url = f"http://{server.management}/models?url={MODEL}&model_name=idle&initial_workers=0"
            async with aiohttp.ClientSession() as session, session.post(url) as answer:
                assert answer.status == 200, await answer.text()
            async with open_client(self.uri(server, "idle")) as client:
                with pytest.raises(UnavailableError, match="none of its workers is ready"):
                    await client.metadata(TIMEOUT_S)
                with pytest.raises(UnavailableError, match=r"HTTP 503: .*[Nn]o worker|HTTP 503: .*has no worker"):
                    await client.predict(instances(ROW), 1, TIMEOUT_S)

        asyncio.run(work())

    # ---- many at once, and poison among them

    def test_many_in_flight_each_get_their_own_answer(self, server: Address) -> None:
        async def work(client: ModelClient) -> list[Any]:
            rows = ([float(n)] * 4 for n in range(300))
            return await asyncio.gather(*(client.predict(instances(row), 1, TIMEOUT_S) for row in rows))

        for n, answer in enumerate(self.use(self.uri(server), work)):
            assert answer.outputs == {"predictions": [[0.5 * n + 2] * 4]}

    def test_only_poison_rows_fail(self, server: Address) -> None:
        """Where the server batches, the innocent requests of a batch get the 503, too: retries must find them good."""
        guilty = {0, 50, 119}
        values = [POISON if n in guilty else float(n) for n in range(120)]

        async def work() -> list[list[RowsResult]]:
            client = open_client(self.uri(server))
            options = DispatchOptions(TIMEOUT_S, RetryPolicy(deadline_s=3.0, cap_s=0.3), max_in_flight=16)
            asked = Dispatcher(client, (await client.metadata(TIMEOUT_S)).signature, options)
            try:
                return await asyncio.gather(*(asked.answer(instances([value, 0.0, 0.0, 0.0]), 1) for value in values))
            finally:
                await asked.close()

        found = []
        for outcomes in asyncio.run(work()):
            for outcome in outcomes:
                outcome.outputs = {"y": outcome.outputs["predictions"]} if outcome.outputs else None
            found += by_row(outcomes, 1)
        assert found == ["ServerError" if n in guilty else 0.5 * n + 2 for n in range(120)]
