"""The contract, over the tasks ``chat`` and ``completions`` of OpenAI-compatible servers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.clients.openai.as_text import AsText
from tests.clients.openai.test_contract_embeddings import TestEmbeddings as _TestEmbeddings
from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.errors import AnswerTooLargeError, NotServedError
from transforms.testing.contract import TIMEOUT_S, rows_of
from transforms.testing.openai.stub import OpenAiStub
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer
from transforms.types import ModelMetadata


class TestChat(_TestEmbeddings):
    """A request has one prompt; what is no choice can't be told apart from none."""

    task = "chat"
    max_rows = 1
    visible_kinds = ("short", "no_outputs", "malformed")
    sole_output = "answer"

    test_a_limit_that_the_probe_exceeds = None  # type: ignore[assignment]
    test_not_a_number_and_infinities_among_numbers = None  # type: ignore[assignment]

    @pytest.fixture
    def stub(self) -> Iterator[StubServer]:
        with OpenAiStub(StubModel()) as stub:
            stub.task = self.task
            yield stub

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        uri = uri.replace("task=embeddings", f"task={self.task}")
        return AsText(open_client(uri, options), "prompt")

    def test_metadata(self, stub: StubServer) -> None:
        """A model that is listed is asked for nothing."""

        async def work(client: ModelClient) -> ModelMetadata:
            return await client.metadata(TIMEOUT_S)

        metadata = self.use(stub, work)
        assert (metadata.model, metadata.version, metadata.max_rows) == ("model", "", 1)
        assert {name: str(spec) for name, spec in metadata.signature.inputs.items()} == {"prompt": "string[?]"}
        assert {name: str(spec) for name, spec in metadata.signature.outputs.items()} == {"answer": "string[?]"}
        assert isinstance(stub, OpenAiStub)
        assert (stub.faults.requests, stub.probes) == (0, 0)

    def test_a_version_and_a_label_in_the_uri(self, stub: StubServer) -> None:
        stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}

        async def work(client: ModelClient) -> str:
            return (await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)).version

        assert self.use(stub, work) == "2"
        assert self.use(stub, work, stub.uri(version=1)) == "1"

    def test_a_model_still_loading_is_not_available_yet(self, stub: StubServer) -> None:
        assert isinstance(stub, OpenAiStub)
        stub.lists = False  # else the list says that it is there, and the first record waits
        super().test_a_model_still_loading_is_not_available_yet(stub)

    def test_an_answer_with_more_bytes_than_the_limit(self, stub: StubServer) -> None:
        wide = rows_of(1, 20_000)
        options = ClientOptions(max_answer_bytes=40_000)
        with pytest.raises(AnswerTooLargeError, match=r"model model.*--max_answer_bytes"):
            self.use(stub, lambda client: client.predict({"x": wide}, 1, TIMEOUT_S), options=options)
        np.testing.assert_array_equal(self.output(self.predict(stub, wide)), 0.5 * wide + 2)

    def test_a_batch_too_large_is_rejected(self, stub: StubServer) -> None:
        super().test_a_batch_too_large_is_rejected(stub)
        assert stub.faults.requests == 0

    def test_an_output_that_the_model_does_not_have(self, stub: StubServer) -> None:
        with pytest.raises(NotServedError, match=r"--outputs=y,z: .*no such output; it has answer"):
            self._ask(stub, "z", "answer", "y")


class TestCompletions(TestChat):
    task = "completions"


del _TestEmbeddings  # it is collected in its own module
