"""The contract, over the task ``embeddings`` of OpenAI-compatible servers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.clients.openai.as_text import AsText
from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.errors import AnswerTooLargeError, NotServedError, RejectedError
from transforms.testing.contract import TIMEOUT_S, ClientContract, rows_of
from transforms.testing.openai.stub import OpenAiStub
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer
from transforms.types import ModelMetadata


class TestEmbeddings(ClientContract):
    """The server publishes no signature and has one output; a version is a part of the model's name."""

    stub_class = OpenAiStub
    dtypes = ()
    has_labels = False
    sole_output = "embedding"

    @pytest.fixture
    def stub(self) -> Iterator[StubServer]:
        with OpenAiStub(StubModel()) as stub:
            yield stub

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        return AsText(open_client(uri, options), "input")

    # Not collected: a request has one input, of text, and the task states the signature.
    test_several_inputs_and_outputs_by_name = None  # type: ignore[assignment]
    test_an_input_called_b64 = None  # type: ignore[assignment]
    test_a_scalar_signature_answers_one_row = None  # type: ignore[assignment]
    test_an_input_left_to_its_default = None  # type: ignore[assignment]
    test_the_signature_asked_for = None  # type: ignore[assignment]
    test_shapes_of_the_signature = None  # type: ignore[assignment]
    test_only_the_outputs_that_are_wanted = None  # type: ignore[assignment]
    test_all_outputs_unless_some_are_wanted = None  # type: ignore[assignment]
    test_an_output_that_one_answer_lacks = None  # type: ignore[assignment]
    test_an_output_that_nobody_wants_spoils_no_answer = None  # type: ignore[assignment]
    test_an_output_without_a_batch_dimension_is_the_same_for_every_row = None  # type: ignore[assignment]

    def test_metadata(self, stub: StubServer) -> None:
        """The signature is the task's; the length of the vectors and the version are those of the probe's answer."""
        stub.model.versions = {3: "AVAILABLE", 4: "AVAILABLE", 5: "LOADING"}

        async def work(client: ModelClient) -> ModelMetadata:
            return await client.metadata(TIMEOUT_S)

        metadata = self.use(stub, work)
        assert (metadata.model, metadata.version, metadata.max_rows) == ("model", "4", None)
        assert metadata.signature.known
        assert {name: str(spec) for name, spec in metadata.signature.inputs.items()} == {"input": "string[?]"}
        assert {name: str(spec) for name, spec in metadata.signature.outputs.items()} == {"embedding": "float32[?,8]"}
        assert stub.faults.requests == 0

    def test_an_unknown_model_version_and_label(self, stub: StubServer) -> None:
        """The error has the server's words, and the models that it lists."""
        stub.model.versions = {7: "AVAILABLE"}
        for uri in (stub.uri(model="other"), stub.uri(version=8)):
            error = self.metadata_error(uri)
            assert isinstance(error, NotServedError)
            assert "does not exist" in str(error)
            assert str(error).endswith("it lists model, model-7")

    def test_an_answer_with_more_bytes_than_the_limit(self, stub: StubServer) -> None:
        """An answer of many rows: that of one, the probe's, has to fit."""
        many = rows_of(1000)
        options = ClientOptions(max_answer_bytes=40_000)
        with pytest.raises(AnswerTooLargeError, match=r"model model.*--max_answer_bytes"):
            self.use(stub, lambda client: client.predict({"x": many}, 1000, TIMEOUT_S), options=options)
        answer = self.predict(stub, many)
        np.testing.assert_array_equal(self.output(answer), 0.5 * many + 2)

    def test_a_limit_that_the_probe_exceeds(self, stub: StubServer) -> None:
        """The flag is named at the start."""
        assert isinstance(stub, OpenAiStub)
        stub.width = 20_000
        with pytest.raises(NotServedError, match=r"more than 40,000 bytes; raise --max_answer_bytes$"):
            self.use(stub, lambda client: client.metadata(TIMEOUT_S), options=ClientOptions(max_answer_bytes=40_000))

    def test_an_output_that_the_model_does_not_have(self, stub: StubServer) -> None:
        with pytest.raises(NotServedError, match=r"--outputs=y,z: .*no such output; it has embedding"):
            self._ask(stub, "z", "embedding", "y")

    def test_not_a_number_and_infinities_among_numbers(self, stub: StubServer) -> None:
        """Base64 has a form for them, and so have the numbers of servers in Python."""
        assert isinstance(stub, OpenAiStub)
        stub.answers_numbers = True
        super().test_not_a_number_and_infinities(stub)

    def test_an_input_of_another_dtype_is_rejected(self, stub: StubServer) -> None:
        words = np.array([[b"secret-payload"]], dtype=object)
        with pytest.raises(RejectedError) as caught:
            self.predict(stub, words)
        assert "secret-payload" not in str(caught.value)
