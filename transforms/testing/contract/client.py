"""``ClientContract``: tests of what ``transforms/clients/base.py`` requires of a client, against a stub server.

This module has the tests of answers, errors, time-outs and connections. ``metadata.py`` has those of metadata, versions,
signatures and TLS, and ``outputs.py`` those of outputs.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from transforms.clients.base import ClientOptions, ModelClient
from transforms.errors import (
    AnswerTooLargeError,
    MalformedAnswerError,
    ModelError,
    NotServedError,
    OverloadedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.testing.contract.metadata import TIMEOUT_S, rows_of
from transforms.testing.contract.outputs import OutputsContract
from transforms.testing.faults import Kind
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer
from transforms.types import TensorSpec

SHORT_S = 0.03
"""The time-out in seconds of requests that are to time out."""


class ClientContract(OutputsContract):
    """All tests of the contract. Subclass it for a protocol.

    Attributes:
        place: A regular expression for the server's address in error messages.
        concurrency: The number of requests, of 40, that must be in flight at the same time.
    """

    place = r"127\.0\.0\.1"
    concurrency = 11

    # ---- answers

    @pytest.mark.parametrize("count", [1, 2, 64])
    def test_one_row_for_each_row_in_order(self, stub: StubServer, count: int) -> None:
        """The answer has one row for each row of the request, in the same order."""
        count = self.at_most(count)
        x = rows_of(count)
        answer = self.predict(stub, x)
        assert list(answer.outputs) == [self.sole_output or "y"]
        np.testing.assert_array_equal(self.output(answer), 0.5 * x + 2)
        assert not self.has_signature or self.output(answer).dtype == np.float32
        assert answer.version == ("1" if self.tells_version else "")
        assert stub.faults.batch_sizes == [count]

    def test_arrays_that_are_not_contiguous_or_not_little_endian(self, stub: StubServer) -> None:
        """The client sends the values of an array, whatever its layout in memory."""
        x = rows_of(4, 6)[::2, ::-3].astype(">f4")[: self.at_most(4)]
        np.testing.assert_array_equal(self.output(self.predict(stub, x)), 0.5 * x.astype("f4") + 2)

    def test_every_dtype_both_ways(self, stub: StubServer) -> None:
        """A model that returns its input returns the same values, of the same dtype."""
        for dtype in self.dtypes:
            if dtype == "string":
                values = np.array([[b"", b"plain"], ["ä€".encode(), b"\x00\xff"]], dtype=object)
            elif dtype == "bool":
                values = np.array([[True, False], [False, False]])
            else:
                exact = np.float32 if dtype == "bfloat16" else np.dtype(dtype)
                values = np.array([[0, 1], [2, 100]], exact)
                if values.dtype.kind in "iu":
                    values[0] = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
            values = values[: self.at_most(2)]
            spec = {"value": TensorSpec(dtype, (-1, 2))}
            stub.model = StubModel.of(spec, {"value": spec["value"]}, lambda inputs: inputs)

            async def work(client: ModelClient, values: np.ndarray = values) -> Any:
                return await client.predict({"value": values}, len(values), TIMEOUT_S)

            output = self.output(self.use(stub, work), "value")
            assert not self.has_signature or isinstance(output, np.ndarray)
            assert not self.has_signature or output.dtype == values.dtype, dtype
            np.testing.assert_array_equal(output, values, err_msg=dtype)

    def test_not_a_number_and_infinities(self, stub: StubServer) -> None:
        """NaN and infinities reach the model and come back."""
        x = np.array([[np.nan, np.inf], [1, -np.inf]], np.float32)[: self.at_most(2)]
        np.testing.assert_array_equal(self.output(self.predict(stub, x)), 0.5 * x + 2)

    def test_several_inputs_and_outputs_by_name(self, stub: StubServer) -> None:
        """Inputs and outputs are matched by name; outputs are sorted by name."""
        stub.model = StubModel.of(
            {"a": TensorSpec("float32", (-1,)), "b": TensorSpec("int64", (-1, 2))},
            {"text": TensorSpec("string", (-1,)), "sum": TensorSpec("float32", (-1,))},
            lambda i: {
                "sum": i["a"] + i["b"].sum(axis=1, dtype=np.float32),
                "text": np.array([str(v).encode() for v in i["a"].tolist()], dtype=object),
            },
        )
        rows = self.at_most(3)
        inputs: dict[str, np.ndarray] = {"a": np.array([0.5, 1.5, 2.5], np.float32), "b": np.arange(6).reshape(3, 2)}
        inputs = {name: values[:rows] for name, values in inputs.items()}
        answer = self.use(stub, lambda client: client.predict(inputs, rows, TIMEOUT_S))
        assert list(answer.outputs) == ["sum", "text"]
        assert list(answer.outputs["sum"]) == [1.5, 6.5, 11.5][:rows]
        texts = [b"0.5", b"1.5", b"2.5"] if self.has_signature else ["0.5", "1.5", "2.5"]
        assert list(answer.outputs["text"]) == texts[:rows]

    def test_an_input_called_b64(self, stub: StubServer) -> None:
        """``{"b64": …}`` means bytes in TensorFlow Serving's JSON. An input of that name must not be read so."""
        spec = TensorSpec("float32", (-1,))
        stub.model = StubModel.of({"b64": spec}, {"y": spec}, lambda inputs: {"y": inputs["b64"]})
        ones = np.ones(self.at_most(2), np.float32)
        answer = self.use(stub, lambda client: client.predict({"b64": ones}, len(ones), TIMEOUT_S))
        assert list(self.output(answer)) == list(ones)

    def test_a_scalar_signature_answers_one_row(self, stub: StubServer) -> None:
        """A signature whose input and output are scalars, without a batch dimension, answers one row."""
        scalar = TensorSpec("float32", ())
        stub.model = StubModel.of({"x": scalar}, {"y": scalar}, lambda i: {"y": i["x"] * np.float32(0.5) + np.float32(3)})
        answer = self.use(stub, lambda client: client.predict({"x": np.array(4, np.float32)}, 1, TIMEOUT_S))
        assert np.shape(self.output(answer)) == (1,)
        assert self.output(answer)[0] == 5

    def test_an_input_left_to_its_default(self, stub: StubServer) -> None:
        """An input with a default value may be left out of a request."""
        spec = TensorSpec("float32", (-1,))
        stub.model = StubModel.of(
            {"x": spec, "bias": TensorSpec("float32", (-1,), has_default=True)}, {"y": spec}, lambda i: {"y": i["x"]}
        )

        async def work(client: ModelClient) -> Any:
            metadata = await client.metadata(TIMEOUT_S)
            return metadata, await client.predict({"x": np.ones(1, np.float32)}, 1, TIMEOUT_S)

        metadata, answer = self.use(stub, work)
        if self.has_signature:
            assert metadata.signature.inputs["bias"].has_default
            assert not metadata.signature.inputs["x"].has_default
        assert list(self.output(answer)) == [1]

    # ---- answers that do not fit

    @pytest.mark.parametrize("kind", ["short", "long", "scalar", "wrong_dtype", "no_outputs", "malformed"])
    def test_an_answer_that_does_not_fit_is_malformed(self, stub: StubServer, kind: Kind) -> None:
        """An answer with wrong rows, dtypes or outputs raises ``MalformedAnswerError``; the next request succeeds."""
        if kind not in self.visible_kinds:
            pytest.skip("the protocol's answers look the same with it")
        x = rows_of(self.at_most(3))
        stub.faults.answer_next(1, kind)

        async def work(client: ModelClient) -> Any:
            with pytest.raises(MalformedAnswerError, match="model"):
                await client.predict({"x": x}, len(x), TIMEOUT_S)
            return await client.predict({"x": x}, len(x), TIMEOUT_S)

        assert len(self.output(self.use(stub, work))) == len(x)  # the connection survives it

    def test_fewer_rows_than_the_caller_counts(self, stub: StubServer) -> None:
        """An answer with fewer rows than ``rows`` raises ``MalformedAnswerError``."""
        if self.max_rows == 1:
            pytest.skip("an answer is one row")
        with pytest.raises(MalformedAnswerError, match="3 rows for a request of 4"):
            self.use(stub, lambda client: client.predict({"x": rows_of(3)}, 4, TIMEOUT_S))

    def test_an_answer_with_more_bytes_than_the_limit(self, stub: StubServer) -> None:
        """This error has a type of its own, because the answer to fewer rows may be small enough."""
        wide = rows_of(1, 20_000)
        options = ClientOptions(max_answer_bytes=40_000)
        with pytest.raises(AnswerTooLargeError, match=rf"{self.where}.*--max_answer_bytes"):
            self.use(stub, lambda client: client.predict({"x": wide}, 1, TIMEOUT_S), options=options)
        roomy = ClientOptions(max_answer_bytes=400_000)
        answer = self.use(stub, lambda client: client.predict({"x": wide}, 1, TIMEOUT_S), options=roomy)
        np.testing.assert_array_equal(self.output(answer), 0.5 * wide + 2)

    # ---- errors

    def test_an_input_of_another_dtype_is_rejected(self, stub: StubServer) -> None:
        """A wrong dtype raises ``RejectedError``, without the value in its message."""
        words = np.array([[b"secret-payload"]], dtype=object)
        with pytest.raises(RejectedError if self.has_signature else ModelError) as caught:
            self.predict(stub, words)
        assert "secret-payload" not in str(caught.value)

    def test_a_poison_row_rejects_its_batch(self, stub: StubServer) -> None:
        """A batch with a guilty row raises ``poison_error``; a batch without it is answered."""
        x = rows_of(3)
        stub.faults.poison = lambda row: bool(row["x"][0] == 3)
        with pytest.raises(self.poison_error, match=stub.faults.poison_error.message):
            self.predict(stub, x[1 : 1 + self.at_most(2)])
        assert len(self.output(self.predict(stub, rows_of(1)))) == 1

    def test_a_batch_too_large_is_rejected(self, stub: StubServer) -> None:
        """A batch with more rows than the server takes raises ``RejectedError``."""
        stub.faults.max_batch = 2
        with pytest.raises(RejectedError, match="larger than maximum" if self.max_rows is None else "not 3 rows"):
            self.predict(stub, rows_of(3))

    @pytest.mark.parametrize(
        ("code", "error"),
        [
            ("INVALID_ARGUMENT", RejectedError),
            ("OUT_OF_RANGE", RejectedError),
            ("FAILED_PRECONDITION", RejectedError),
            ("ABORTED", TransientError),
            ("ALREADY_EXISTS", TransientError),
            ("RESOURCE_EXHAUSTED", OverloadedError),
            ("DEADLINE_EXCEEDED", OverloadedError),
            ("INTERNAL", TransientError),
            ("UNKNOWN", TransientError),
            ("CANCELLED", TransientError),
            ("UNAVAILABLE", UnavailableError),
            ("NOT_FOUND", NotServedError),
            ("PERMISSION_DENIED", NotServedError),
            ("UNAUTHENTICATED", NotServedError),
            ("UNIMPLEMENTED", NotServedError),
        ],
    )
    def test_status_codes(self, stub: StubServer, code: str, error: type[ModelError]) -> None:
        """Each status code raises its type of error, with the server's text and address in the message.

        Which of it the server has written is in ``said``: that is left out where it repeats the records.
        """
        stub.faults.fail_next(1, code, "injected: the reason")
        with pytest.raises(error, match=rf"{self.where} at {self.place}.*the reason") as caught:
            self.predict(stub, rows_of(1))
        assert type(caught.value) is error
        assert "the reason" in caught.value.said

    def test_a_full_queue_is_overload_not_absence(self, stub: StubServer) -> None:
        """TensorFlow Serving answers UNAVAILABLE when its batching queue is full. The server is up, so it is overloaded."""
        stub.faults.fail_next(1, message="The batch scheduling queue to which this task was submitted is full")
        with pytest.raises(TransientError) as caught:
            self.predict(stub, rows_of(1))
        assert type(caught.value) is OverloadedError

    @pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE"])
    def test_how_long_the_server_asks_to_wait(self, stub: StubServer, code: str) -> None:
        """The wait that the server asks for is in ``retry_after_s``."""
        stub.faults.fail_next(1, code, retry_after_s=7)
        with pytest.raises(TransientError) as caught:
            self.predict(stub, rows_of(1))
        assert caught.value.retry_after_s == 7

    def test_messages_hold_no_payload_and_one_line(self, stub: StubServer) -> None:
        """TensorFlow quotes values that it can't parse. The error message, which becomes a header, must not contain them."""
        quoted = "Could not parse example input, value: 'secret-payload'\n"
        stub.faults.fail_next(1, "INVALID_ARGUMENT", quoted + "x" * 5000)
        with pytest.raises(RejectedError) as caught:
            self.predict(stub, rows_of(1))
        message = str(caught.value)
        assert "secret-payload" not in message
        assert "\n" not in message
        assert len(message) < 500

    # ---- time and connections

    def test_no_answer_in_time_is_transient_and_cancels_the_request(self, stub: StubServer) -> None:
        """A time-out raises ``TransientError``, not ``UnavailableError``, and the server sees a cancelled request."""
        stub.faults.answer_next(None, "hang")
        timeout_s = SHORT_S
        while not stub.faults.requests:  # a busy machine may not even have sent it in so short a time
            with pytest.raises(TransientError) as caught:
                self.predict(stub, rows_of(1), timeout_s)
            assert not isinstance(caught.value, UnavailableError)
            timeout_s *= 2
        stub.faults.wait_for(lambda faults: faults.cancelled == faults.requests)

    @pytest.mark.parametrize("timeout_s", [0.0, -1.0])
    def test_no_time_left_is_no_time(self, stub: StubServer, timeout_s: float) -> None:
        """A time-out of 0 or less ends the request at once. Some libraries, such as aiohttp, read 0 as no limit."""

        async def work(client: ModelClient) -> None:
            stub.faults.answer_next(None, "hang")
            with pytest.raises(TransientError):
                await client.predict({"x": rows_of(1)}, 1, timeout_s)

        self.use(stub, work)

    def test_a_cancelled_predict_cancels_the_request(self, stub: StubServer) -> None:
        """The server sees a cancelled request when the task of ``predict`` is cancelled."""
        stub.faults.answer_next(1, "hang")

        async def work(client: ModelClient) -> None:
            request = asyncio.create_task(client.predict({"x": rows_of(1)}, 1, TIMEOUT_S))
            await asyncio.to_thread(stub.faults.wait_for, lambda faults: faults.in_flight == 1)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            await asyncio.to_thread(stub.faults.wait_for, lambda faults: faults.cancelled == 1)

        self.use(stub, work)

    def test_a_connection_cut_during_the_request_is_unavailable(self, stub: StubServer) -> None:
        """A connection that is cut raises ``UnavailableError``."""
        stub.faults.answer_next(1, "hang_up")

        async def work(client: ModelClient) -> None:
            with pytest.raises(UnavailableError):
                await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)

        self.use(stub, work)

    def test_down_and_up_again(self, stub: StubServer) -> None:
        """A client raises ``UnavailableError`` while the server is down, and reconnects by itself."""

        async def work(client: ModelClient) -> Any:
            await asyncio.to_thread(stub.down)
            with pytest.raises(UnavailableError):
                await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)
            with pytest.raises(UnavailableError):
                await client.metadata(TIMEOUT_S)
            await asyncio.to_thread(stub.up)
            return await answered(client)

        async def answered(client: ModelClient) -> Any:
            """Retries as a caller does; gRPC reconnects within its backoff of 100 ms."""
            while True:
                try:
                    return await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)
                except UnavailableError:
                    await asyncio.sleep(0.01)

        assert len(self.output(self.use(stub, work))) == 1

    def test_nobody_there(self) -> None:
        """A client of an address without a server raises ``UnavailableError``."""
        stub = self.stub_class()  # holds a free port, on which nobody listens
        try:
            assert isinstance(self.metadata_error(stub.uri()), UnavailableError)
        finally:
            stub.close()

    def test_many_requests_at_once_each_get_their_own_answer(self, stub: StubServer) -> None:
        """The server answers none of the requests before ``concurrency`` of them are in flight."""

        async def work(client: ModelClient) -> list[Any]:
            stub.faults.hold_after(0)
            answers = asyncio.gather(
                *(client.predict({"x": np.full((rows(n), 2), n, np.float32)}, rows(n), TIMEOUT_S) for n in range(40))
            )
            await asyncio.to_thread(stub.faults.wait_for, lambda faults: faults.held >= self.concurrency)
            stub.faults.release()
            return await answers

        def rows(n: int) -> int:
            return self.at_most(1 + n % 3)

        for n, answer in enumerate(self.use(stub, work)):
            np.testing.assert_array_equal(self.output(answer), np.full((rows(n), 2), 0.5 * n + 2, np.float32))
        assert stub.faults.held == 0

    def test_closing_twice_and_with_a_request_in_flight(self, stub: StubServer) -> None:
        """Closing ends the requests in flight with ``UnavailableError``, and later ones too."""

        async def run() -> None:
            client = self.open(stub.uri())
            await client.metadata(TIMEOUT_S)
            stub.faults.answer_next(1, "hang")
            request = asyncio.create_task(client.predict({"x": rows_of(1)}, 1, TIMEOUT_S))
            await asyncio.to_thread(stub.faults.wait_for, lambda faults: faults.in_flight == 1)
            await client.close()
            await client.close()
            with pytest.raises(UnavailableError):
                await request
            with pytest.raises(UnavailableError, match="closed"):
                await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)

        asyncio.run(run())

    def test_constructing_does_no_io_and_needs_no_loop(self) -> None:
        """A client can be made without a server and outside of an asyncio loop."""
        stub = self.stub_class()
        try:
            client = self.open(stub.uri().replace("127.0.0.1", "nowhere.invalid"))
            asyncio.run(client.close())
        finally:
            stub.close()
