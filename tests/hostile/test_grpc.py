"""Malicious HTTP/2, gRPC and tensors: an error of the right kind, in bounded time and memory; no prediction, no hang."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import numpy as np
import pytest

from tests.hostile.http2 import (
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    GRPC_HEAD,
    HEADERS,
    OK,
    PING,
    RST_STREAM,
    SETTINGS,
    Answer,
    frame,
    headers,
    message,
    response,
    sends,
    speaks,
)
from tests.hostile.server import MARGIN_S, MIB, TIMEOUT_S, X, bomb, bounded, in_place_of
from transforms.clients.open_inference.messages import ModelInferResponse
from transforms.clients.tfserving.messages import PredictResponse
from transforms.errors import MalformedAnswerError, ModelError, TransientError
from transforms.testing.open_inference.grpc_stub import OipGrpcStub
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.testing.vertex.grpc_stub import VertexGrpcStub

STUBS: list[type[StubServer]] = [TfServingGrpcStub, OipGrpcStub, VertexGrpcStub]
REDIRECT = [(":status", b"302"), ("location", b"http://127.0.0.1:9/")]
PAGE = [(":status", b"200"), ("content-type", b"text/html")]
MANY = [(f"x-{number}", b"y" * 100) for number in range(5000)]
TEXTS = [b"%1b[31mred%0d%0aERROR forged line%00", b"x" * 7000, b"%ff%fe%80", b"%%%zz%4", b"\xff\x01"]
ZIPPED = [*GRPC_HEAD, ("grpc-encoding", b"gzip")]


def trailers_only(*pairs: tuple[str, bytes]) -> Answer:
    return sends(lambda s: headers(s, [*GRPC_HEAD, *pairs], end=True))


def resets(code: int) -> Answer:
    return sends(lambda s: frame(RST_STREAM, 0, s, struct.pack(">I", code)))


async def silence(writer: asyncio.StreamWriter, stream: int) -> None:
    await asyncio.Event().wait()


async def hang_up(writer: asyncio.StreamWriter, stream: int) -> None:
    writer.close()


async def byte_by_byte(writer: asyncio.StreamWriter, stream: int) -> None:
    writer.write(headers(stream, GRPC_HEAD) + frame(DATA, 0, stream, struct.pack(">BI", 0, 1_000_000)))
    while True:
        writer.write(frame(DATA, 0, stream, b"x"))
        await writer.drain()
        await asyncio.sleep(0.05)


WRONG: dict[str, tuple[Answer, tuple[type[ModelError], ...]]] = {
    "no answer": (silence, (TransientError,)),
    "hangs up": (hang_up, (TransientError,)),
    "a message byte by byte": (byte_by_byte, (TransientError,)),
    "garbage": (response(b"\xff\xff\xff\xff no message"), (MalformedAnswerError, TransientError)),
    "an empty message": (response(b""), (MalformedAnswerError,)),
    "no message": (sends(lambda s: headers(s, GRPC_HEAD) + headers(s, OK, end=True)), (ModelError,)),
    "two messages": (
        sends(lambda s: headers(s, GRPC_HEAD) + message(s, b"") + message(s, b"") + headers(s, OK, end=True)),
        (ModelError,),
    ),
    "a length of 4 GB": (
        sends(lambda s: headers(s, GRPC_HEAD) + message(s, b"x", 2**32 - 1) + headers(s, OK, end=True)),
        (ModelError,),
    ),
    "a length too long": (
        sends(lambda s: headers(s, GRPC_HEAD) + message(s, b"xx", 99) + headers(s, OK, end=True)),
        (ModelError,),
    ),
    "data without end": (sends(lambda s: headers(s, GRPC_HEAD), lambda s: message(s, b" " * 65536)), (ModelError,)),
    "compressed by nothing": (
        sends(lambda s: headers(s, GRPC_HEAD) + message(s, b"x", compressed=1) + headers(s, OK, end=True)),
        (ModelError,),
    ),
    "compressed by a flag of 7": (
        sends(lambda s: headers(s, GRPC_HEAD) + message(s, b"x", compressed=7) + headers(s, OK, end=True)),
        (ModelError,),
    ),
    "a bomb": (
        sends(lambda s: headers(s, ZIPPED) + message(s, bomb(), compressed=1) + headers(s, OK, end=True)),
        (ModelError,),
    ),
    "no trailers": (sends(lambda s: headers(s, GRPC_HEAD) + frame(DATA, END_STREAM, s, bytes(5))), (ModelError,)),
    "no status": (trailers_only(("x", b"y")), (ModelError,)),
    "a status of a word": (trailers_only(("grpc-status", b"fine")), (ModelError,)),
    "a status of -1": (trailers_only(("grpc-status", b"-1")), (ModelError,)),
    "a status of 999": (trailers_only(("grpc-status", b"999")), (ModelError,)),
    "OK without a message": (trailers_only(("grpc-status", b"0")), (ModelError,)),
    "a redirect": (sends(lambda s: headers(s, REDIRECT, end=True)), (ModelError,)),
    "a page": (sends(lambda s: headers(s, PAGE) + frame(DATA, END_STREAM, s, b"<html>")), (ModelError,)),
    "many headers": (sends(lambda s: headers(s, [*GRPC_HEAD, *MANY])), (ModelError,)),
    "a header of 5 MB": (sends(lambda s: headers(s, [*GRPC_HEAD, ("x", b"y" * 5 * MIB)])), (ModelError,)),
    "headers without end": (
        sends(lambda s: frame(HEADERS, 0, s, b"\0\1x\1y"), lambda s: frame(CONTINUATION, 0, s, b"\0\1x\1y" * 1000)),
        (ModelError,),
    ),
    "settings without end": (sends(lambda s: b"", lambda s: frame(SETTINGS, 0, 0) * 100), (ModelError,)),
    "pings without end": (sends(lambda s: b"", lambda s: frame(PING, 0, 0, bytes(8)) * 100), (ModelError,)),
    "empty data without end": (sends(lambda s: headers(s, GRPC_HEAD), lambda s: frame(DATA, 0, s) * 100), (ModelError,)),
    "always GOAWAY": (sends(lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0))), (ModelError,)),
    "always ENHANCE_YOUR_CALM": (sends(lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", s, 11))), (ModelError,)),
    **{f"always RST_STREAM {code}": (resets(code), (ModelError,)) for code in (0, 2, 7, 8, 11, 99)},
    "an answer of another stream": (
        sends(lambda s: headers(s + 2, GRPC_HEAD) + message(s + 2, b"") + headers(s + 2, OK, end=True)),
        (ModelError,),
    ),
    "an impossible frame": (sends(lambda s: frame(0xEE, 0xFF, s, b"x") + frame(DATA, 0, 0, b"x")), (ModelError,)),
    "no HTTP/2": (sends(lambda s: b"HTTP/1.1 400 No\r\n\r\n"), (ModelError,)),
}


def predict(stub: StubServer, answer: Answer) -> ModelError | Any:
    """The answer of the client, or its error."""

    async def run() -> ModelError | Any:
        async with in_place_of(stub, speaks(answer)) as client:
            with bounded():
                async with asyncio.timeout(TIMEOUT_S + MARGIN_S):
                    try:
                        return await client.predict(X, 1, TIMEOUT_S)
                    except ModelError as error:
                        return error

    return asyncio.run(run())


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", STUBS)
def test_each_is_an_error_in_bounded_time_and_memory(kind: type[StubServer], name: str) -> None:
    answer, errors = WRONG[name]
    with kind() as stub:
        error = predict(stub, answer)
    assert isinstance(error, errors), f"{type(error).__name__}: {error}"
    assert len(str(error)) < 1100
    assert str(error).isprintable()


@pytest.mark.parametrize("kind", STUBS)
@pytest.mark.parametrize("text", TEXTS)
def test_an_errors_text_is_one_short_printable_line(kind: type[StubServer], text: bytes) -> None:
    with kind() as stub:
        error = predict(stub, trailers_only(("grpc-status", b"3"), ("grpc-message", text)))
    assert isinstance(error, ModelError)
    assert str(error).isprintable()
    assert len(str(error)) < 600


def tensor(shape: list[int], dtype: int = 1, **fields: Any) -> bytes:
    made = PredictResponse()
    made.outputs["y"].dtype = dtype
    for size in shape:
        made.outputs["y"].tensor_shape.dim.add(size=size)
    for name, value in fields.items():
        if isinstance(value, bytes):
            setattr(made.outputs["y"], name, value)
        else:
            getattr(made.outputs["y"], name).extend(value)
    content: bytes = made.SerializeToString()
    return content


TENSORS = {
    "2^40 elements in 8 bytes": tensor([2**40], tensor_content=bytes(8)),
    "2^62 times 2^62": tensor([2**62, 2**62], tensor_content=bytes(8)),
    "2^62 times 0": tensor([2**62, 2**62, 0]),
    "a negative size": tensor([-1, 1], float_val=[1.0]),
    "a size of -2^63": tensor([-(2**63)], float_val=[1.0]),
    "100,000 dimensions": tensor([1] * 100_000, float_val=[1.0]),
    "one value for 2^28": tensor([1, 2**28], float_val=[1.0]),
    "one string for 2^28": tensor([1, 2**28], 7, string_val=[b"x"]),
    "no value for 2^40": tensor([1, 2**40]),
    "an unknown dtype": tensor([1, 1], 77, float_val=[1.0]),
    "a resource": tensor([1, 1], 20),
    "two rows": tensor([2, 1], float_val=[1.0, 2.0]),
    "no rows": tensor([0, 1]),
    "strings for floats": tensor([1, 1], 7, string_val=[b"1.0"]),
}


def test_values_that_stand_for_much_memory_are_counted_over_all_outputs() -> None:
    """Each of a thousand outputs is small enough alone: 4 MB for some 30 bytes."""
    made = PredictResponse()
    for number in range(1000):
        output = made.outputs[f"y{number}"]
        output.dtype = 1
        output.tensor_shape.dim.add(size=1)
        output.tensor_shape.dim.add(size=MIB)
        output.float_val.append(1.0)
    with TfServingGrpcStub() as stub:
        error = predict(stub, response(made.SerializeToString()))
    assert isinstance(error, MalformedAnswerError), error
    assert "--max_answer_bytes" in str(error)


def infer(shape: list[int], datatype: str, raw: bytes | None = None, **contents: list[Any]) -> bytes:
    made = ModelInferResponse()
    output = made.outputs.add(name="y", datatype=datatype, shape=shape)
    for name, values in contents.items():
        getattr(output.contents, name).extend(values)
    if raw is not None:
        made.raw_output_contents.append(raw)
    content: bytes = made.SerializeToString()
    return content


INFERRED = {
    "2^40 elements in 8 bytes": infer([2**40], "FP32", bytes(8)),
    "2^62 times 2^62": infer([2**62, 2**62], "FP32", bytes(8)),
    "2^62 times 0": infer([2**62, 2**62, 0], "FP32", b""),
    "a negative size": infer([-1, 1], "FP32", bytes(4)),
    "100,000 dimensions": infer([1] * 100_000, "FP32", bytes(4)),
    "an unknown datatype": infer([1, 1], "FP7", bytes(4)),
    "a length of strings": infer([1, 1], "BYTES", struct.pack("<I", 2**32 - 1) + b"x"),
    "too few typed values": infer([1, 2**28], "FP32", fp32_contents=[1.0]),
    "nothing": infer([1, 1], "FP32"),
    "two rows": infer([2, 1], "FP32", bytes(8)),
    "strings for floats": infer([1, 1], "BYTES", struct.pack("<I", 1) + b"1"),
}


TENSORS_OF = [
    *((TfServingGrpcStub, name, content) for name, content in TENSORS.items()),
    *((OipGrpcStub, name, content) for name, content in INFERRED.items()),
]


@pytest.mark.parametrize(("kind", "name", "content"), TENSORS_OF, ids=lambda value: value if isinstance(value, str) else "")
def test_a_tensor_that_is_none_is_malformed(kind: type[StubServer], name: str, content: bytes) -> None:
    with kind() as stub:
        error = predict(stub, response(content))
    assert isinstance(error, MalformedAnswerError), error


def test_not_a_number_is_an_answer() -> None:
    """What the model computes is the model's: JSON has a form for it (``null``), and the record is answered."""
    with TfServingGrpcStub() as stub:
        answer = predict(stub, response(tensor([1, 1], float_val=[float("nan")])))
    assert not isinstance(answer, ModelError), answer
    assert np.isnan(answer.outputs["y"]).all()
