"""The contract, for the model in the worker, with a TensorFlow and a folder of versions that do what the test says.

The same client on the real TensorFlow: ``test_tensorflow.py`` and ``tests/pipeline/embedded/test_agreement.py``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.selection import select_outputs
from transforms.clients.wire.tensorflow.tensors import DTYPE_NAMES
from transforms.errors import NotServedError, UnavailableError
from transforms.testing.contract import TIMEOUT_S, ClientContract, rows_of
from transforms.testing.saved_model.stub import SavedModelStub
from transforms.testing.stub_server import StubServer

POLL_S = 0.005
NOT_HERE = None
"""A test of the contract that has no meaning without a connection."""


class TestSavedModel(ClientContract):
    stub_class = SavedModelStub
    dtypes = tuple(DTYPE_NAMES.values())
    asks_for_outputs = True
    place = r"stub://127\.0\.0\.1:\d+/model"
    concurrency = 2  # as many threads as are good for the processor's cores, not as many as a server far away can take

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Looks for another version all the time, instead of every minute."""
        outputs = options.outputs if options is not None else ()
        return select_outputs(SavedModelStub.of(uri).client(uri, POLL_S, tuple(sorted(outputs))), outputs)

    # ---- what means something else here

    def test_a_version_and_a_label_in_the_uri(self, stub: StubServer) -> None:
        """A folder has no labels."""
        stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}

        async def work(client: ModelClient) -> Any:
            metadata = await client.metadata(TIMEOUT_S)
            return metadata.version, (await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)).version

        assert self.use(stub, work) == ("2", "2")
        assert self.use(stub, work, stub.uri(version=1)) == ("1", "1")

    def test_an_unknown_model_version_and_label(self, stub: StubServer) -> None:
        stub.model.versions = {7: "AVAILABLE"}
        for uri in (stub.uri(model="other"), stub.uri(version=8)):
            assert isinstance(self.metadata_error(uri), NotServedError), uri
        assert "7 (AVAILABLE)" in str(self.metadata_error(stub.uri(version=8)))
        assert "/other/1/saved_model.pb" in str(self.metadata_error(stub.uri(model="other")))

    def test_model_or_signature_gone_while_running(self, stub: StubServer) -> None:
        """What is in memory goes on answering: neither a version without the signature nor an empty folder takes over."""

        async def work(client: ModelClient) -> None:
            stub.model.signatures, stub.model.versions = {}, {2: "AVAILABLE"}
            await asyncio.to_thread(SavedModelStub.of(stub.uri()).store.poll)
            stub.model.versions = {}
            await asyncio.to_thread(SavedModelStub.of(stub.uri()).store.poll)
            assert (await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)).version == "1"

        self.use(stub, work)

    def test_down_and_up_again(self, stub: StubServer) -> None:
        """Whoever has the model answers without its files; who has not waits for them."""

        async def work(client: ModelClient) -> Any:
            await asyncio.to_thread(stub.down)
            other = self.open(stub.uri(version=1))
            with pytest.raises(UnavailableError, match="injected fault"):
                await other.metadata(TIMEOUT_S)
            answer = await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)
            await asyncio.to_thread(stub.up)
            assert (await other.metadata(TIMEOUT_S)).version == "1"
            await other.close()
            return answer

        assert len(self.use(stub, work).outputs["y"]) == 1

    def test_a_cancelled_predict_cancels_the_request(self, stub: StubServer) -> None:
        """TensorFlow can't be told to stop: the caller goes on at once, the run ends by itself and nobody hears of it."""
        stub.faults.answer_next(1, "hang")

        async def work(client: ModelClient) -> Any:
            request = asyncio.create_task(client.predict({"x": rows_of(1)}, 1, 0.2))
            await asyncio.to_thread(stub.faults.wait_for, lambda faults: faults.in_flight == 1)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            assert stub.faults.in_flight == 1
            answer = await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)
            await asyncio.to_thread(stub.faults.wait_for, lambda faults: faults.cancelled == 1)  # at its time limit
            return answer

        assert len(self.use(stub, work).outputs["y"]) == 1

    test_a_connection_cut_during_the_request_is_unavailable = NOT_HERE  # type: ignore[assignment]  # there is none to cut
    test_an_answer_with_more_bytes_than_the_limit = NOT_HERE  # type: ignore[assignment]  # an answer is in memory already
    test_headers_travel_and_stay_secret = NOT_HERE  # type: ignore[assignment]  # nothing travels
    test_mutual_tls = NOT_HERE  # type: ignore[assignment]  # likewise
    test_a_server_that_speaks_no_tls = NOT_HERE  # type: ignore[assignment]  # likewise
    test_a_certificate_that_is_no_good_is_told_apart = NOT_HERE  # type: ignore[assignment]  # likewise
    test_how_long_the_server_asks_to_wait = NOT_HERE  # type: ignore[assignment]  # TensorFlow never asks
