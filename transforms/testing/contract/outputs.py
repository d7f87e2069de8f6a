"""``OutputsContract``: tests of a model's outputs and of ``ClientOptions.outputs``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.clients.base import ClientOptions, ModelClient
from transforms.errors import MalformedAnswerError, NotServedError
from transforms.testing.contract.metadata import TIMEOUT_S, MetadataContract
from transforms.testing.stub_model import Function, StubModel
from transforms.testing.stub_server import StubServer
from transforms.types import TensorSpec

_SPEC = TensorSpec("float32", (-1,))


def _three_outputs(function: Function | None = None) -> StubModel:
    outputs = {"a": _SPEC, "b": _SPEC, "c": _SPEC}
    return StubModel.of({"x": _SPEC}, outputs, function or (lambda i: {"a": i["x"], "b": i["x"] + 1, "c": i["x"] + 2}))


class OutputsContract(MetadataContract):
    """Tests of a model's outputs.

    Attributes:
        asks_for_outputs: Whether requests name the outputs to return, so that the server does not send the others.
    """

    asks_for_outputs = False

    def _ask(self, stub: StubServer, *outputs: str, work: Any = None) -> Any:
        x = np.arange(self.at_most(2), dtype=np.float32)
        ask = work or (lambda client: client.predict({"x": x}, len(x), TIMEOUT_S))
        return self.use(stub, ask, options=ClientOptions(outputs=outputs))

    def test_only_the_outputs_that_are_wanted(self, stub: StubServer) -> None:
        """Answers and metadata have only the outputs of ``ClientOptions.outputs``."""
        stub.model = _three_outputs()
        answer = self._ask(stub, "c", "a")
        assert list(answer.outputs) == ["a", "c"]
        assert list(answer.outputs["c"]) == [2, 3][: self.at_most(2)]
        if self.asks_for_outputs:
            assert sorted(stub.outputs_asked) == ["a", "c"]

        async def metadata(client: ModelClient) -> Any:
            return (await client.metadata(TIMEOUT_S)).signature.outputs

        assert list(self._ask(stub, "c", "a", work=metadata)) == (["c", "a"] if self.has_signature else [])

    def test_all_outputs_unless_some_are_wanted(self, stub: StubServer) -> None:
        """Answers have all outputs if ``ClientOptions.outputs`` is empty."""
        stub.model = _three_outputs()
        assert list(self._ask(stub).outputs) == ["a", "b", "c"]
        assert stub.outputs_asked == () or not self.asks_for_outputs

    def test_an_output_that_the_model_does_not_have(self, stub: StubServer) -> None:
        """The error comes with the metadata if there is a signature, else with the first answer. It lists the outputs."""
        stub.model = _three_outputs()
        with pytest.raises(NotServedError, match=r"--outputs=y,z: .*no such output; it has a, b, c"):
            self._ask(stub, "z", "a", "y")

    def test_an_output_that_one_answer_lacks(self, stub: StubServer) -> None:
        """Earlier answers had the output, so this answer is malformed, and the flag is right."""
        if self.asks_for_outputs:
            pytest.skip("a server that is asked for an output gives it")

        def lacking(inputs: dict[str, np.ndarray]) -> Any:
            return {"a": inputs["x"], **({} if inputs["x"][0] else {"b": inputs["x"]})}

        async def work(client: ModelClient) -> None:
            await client.predict({"x": np.zeros(1, np.float32)}, 1, TIMEOUT_S)
            with pytest.raises(MalformedAnswerError, match="the answer has no output"):
                await client.predict({"x": np.ones(1, np.float32)}, 1, TIMEOUT_S)

        stub.model = StubModel.of({"x": _SPEC}, {"a": _SPEC, "b": _SPEC}, lacking)
        self._ask(stub, "a", "b", work=work)

    def test_an_output_that_nobody_wants_spoils_no_answer(self, stub: StubServer) -> None:
        """A malformed output matters only if it is wanted."""
        if not self.has_signature:
            pytest.skip("the protocol's answers have one entry a row")
        stub.model = _three_outputs(lambda i: {"a": i["x"], "b": i["x"][:1], "c": i["x"]})
        with pytest.raises(MalformedAnswerError, match="output b"):
            self._ask(stub)
        assert list(self._ask(stub, "a").outputs["a"]) == [0, 1][: self.at_most(2)]

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_an_output_without_a_batch_dimension_is_the_same_for_every_row(self, stub: StubServer, count: int) -> None:
        """An output with two class names belongs to every row. It is not split by rows, even if there are two."""
        if self.max_rows == 1:
            pytest.skip("an answer is one row")
        if not self.has_signature:
            pytest.skip("the protocol's answers have one entry a row")
        names = np.array([b"no", b"yes"], object)
        outputs = {"score": _SPEC, "names": TensorSpec("string", (2,))}
        stub.model = StubModel.of({"x": _SPEC}, outputs, lambda i: {"score": i["x"], "names": names})
        x = np.arange(count, dtype=np.float32)
        answer = self.use(stub, lambda client: client.predict({"x": x}, count, TIMEOUT_S))
        assert list(answer.outputs["score"]) == list(x)
        assert [list(row) for row in answer.outputs["names"]] == [[b"no", b"yes"]] * count
