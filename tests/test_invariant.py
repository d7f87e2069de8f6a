"""The invariant: inputs = predictions + dead letters, one to one by (topic, partition, offset), in order per partition.

The real Decode, Predict and Encode DoFns are driven as a worker drives them, over chunks, bundles, batch sizes, windows,
shapes and faults that Hypothesis chooses: with a client in the process, which can do anything, and through the real gRPC
client against the stub server, which does it on the wire.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fake_model import Call, FakeModel, serving
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError, TransientError, UnavailableError
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.stages import DecodeChunks, DecodeConfig, EncodeChunks, EncodeConfig
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import METHOD_PREDICT, Answer, KafkaRecord, ModelMetadata, OutputRecord, Signature, TensorSpec

WINDOW_S = 1.0
FAST = RetryPolicy(deadline_s=0.02, base_s=0.0002, cap_s=0.001)

SHAPES: dict[str, tuple[int, ...]] = {"ragged": (-1, -1), "plain": (-1, 2), "fixed": (4, 2), "scalar": (), "values": (-1,)}
BROKEN: tuple[bytes | None, ...] = (None, b"", b"{", b'"text"', b'{"z":1}', b"[[[1]]]", b"\xff", b"[1e999]")


@dataclasses.dataclass
class Case:
    """One example.

    Attributes:
        shape: Of the input x.
        second: Whether there is an input k besides.
        bundles: Bundles of chunks of records.
        identities: Offset by partition to the number that the record asks the model with; broken ones have none.
        poison: Numbers that make the server refuse a request with them; ``liars`` make it answer 503.
        size: Rows of a batch at most.
        windowed: Whether windows must not be mixed.
        max_in_flight: Requests at a time.
        on_unavailable: What happens at the deadline.
        faults: What befalls requests by their number.
        failed_bundles: Bundles that are cut off after so many chunks, and begun again.
        seed: Of the order in which answers come.
    """

    shape: tuple[int, ...]
    second: bool
    bundles: list[list[list[KafkaRecord]]]
    identities: dict[tuple[int, int], int]
    poison: set[int]
    liars: set[int]
    size: int
    windowed: bool
    max_in_flight: int | None
    on_unavailable: str
    faults: dict[int, str]
    failed_bundles: dict[int, int]
    seed: int

    @property
    def signature(self) -> Signature:
        inputs = {"x": TensorSpec("float32", self.shape)}
        if self.second:
            inputs["k"] = TensorSpec("int64", () if self.shape == () else self.shape[:1])
        outputs = {"y": TensorSpec("float32", () if self.shape == () else (-1,))}
        return Signature("serving_default", METHOD_PREDICT, inputs, outputs)

    @property
    def records(self) -> list[KafkaRecord]:
        return [record for bundle in self.bundles for chunk in bundle for record in chunk]


@st.composite
def cases(draw: st.DrawFn, faults: tuple[str, ...], liars: bool) -> Case:
    shape = SHAPES[draw(st.sampled_from(sorted(SHAPES)))]
    second = draw(st.booleans())
    rng = random.Random(draw(st.integers(0, 2**32)))
    bad = draw(st.sampled_from((0.0, 0.1, 0.5)))
    offsets: dict[int, int] = collections.defaultdict(int)
    identities: dict[tuple[int, int], int] = {}

    def record() -> KafkaRecord:
        partition = rng.randrange(3)
        offset = offsets[partition] = offsets[partition] + rng.choice((1, 1, 1, 5))
        timestamp_ms = rng.choice((None, 0, 500, 1500, 2500))
        if rng.random() < bad:
            value = rng.choice(BROKEN)
        else:
            number = len(identities) + 1
            identities[partition, offset] = number
            width = rng.randint(1, 3) if shape == (-1, -1) else 2
            x: Any = float(number) if len(shape) < 2 else [float(number)] + [0.0] * (width - 1)
            value = json.dumps({"x": x, "k": number} if second else {"x": x} if rng.random() < 0.5 else x).encode()
        return KafkaRecord("in", partition, offset, timestamp_ms, b"%d" % offset, value, [])

    bundles = [
        [[record() for _ in range(chunk)] for chunk in bundle]
        for bundle in draw(st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=5), min_size=1, max_size=4))
    ]
    numbers = list(identities.values())
    guilty = set(rng.sample(numbers, min(len(numbers), draw(st.sampled_from((0, 0, 1, 3))))))
    lying = {number for number in guilty if liars and rng.random() < 0.3}
    again = draw(st.dictionaries(st.integers(0, 3), st.integers(1, 5), max_size=2))
    return Case(
        shape,
        second,
        bundles,
        identities,
        guilty - lying,
        lying,
        size=draw(st.integers(1, 10)),
        windowed=draw(st.booleans()),
        max_in_flight=draw(st.sampled_from((None, 1, 2, 5))),
        on_unavailable=draw(st.sampled_from(("hold", "hold", "dead_letter"))),
        faults=draw(st.dictionaries(st.integers(0, 12), st.sampled_from(faults), max_size=6)) if faults else {},
        failed_bundles=again,
        seed=rng.randrange(2**32),
    )


def run(case: Case, uri: str) -> list[OutputRecord]:
    """What is written, as a worker gets it: of each bundle that came to its end."""
    metadata = ModelMetadata("model", "1", case.signature)
    dispatch = DispatchOptions(10.0, FAST, case.on_unavailable, case.max_in_flight)
    decode = DecodeChunks(DecodeConfig(case.signature, "json", WINDOW_S if case.windowed else None))
    predict = PredictChunks(PredictConfig(uri, metadata, dispatch=dispatch, batch_max_size=case.size))
    encode = EncodeChunks(EncodeConfig("out", "dlq", "model"))
    for stage in (decode, predict, encode):
        stage.setup()
    written: list[OutputRecord] = []
    try:
        for number, bundle in enumerate(case.bundles):
            if number in case.failed_bundles:
                predict.start_bundle()
                for chunk in bundle[: case.failed_bundles[number]]:
                    list(predict.process(next(decode.process(chunk))))
            predict.start_bundle()
            predicted = [found for chunk in bundle for of in decode.process(chunk) for found in predict.process(of)]
            predicted += [windowed.value for windowed in predict.finish_bundle()]
            written += [output for chunk in predicted for outputs in encode.process(chunk) for output in outputs]
    finally:
        predict.teardown()
    return written


def check(case: Case, written: list[OutputRecord], innocent_must_pass: bool) -> None:
    """The invariant; and that each prediction is its own record's, and each guilty record a dead letter."""
    records = case.records
    assert [output.source for output in written] == [(r.topic, r.partition, r.offset) for r in records], (
        "one to one, and in the order of the input"
    )
    for record, output in zip(records, written, strict=True):
        headers = dict(output.headers)
        source = f"{record.topic}/{record.partition}/{record.offset}".encode()
        assert headers["inference.source"] == source
        assert (output.key, output.timestamp_ms) == (record.key, record.timestamp_ms)
        number = case.identities.get((record.partition, record.offset))
        if output.topic == "out":
            assert number is not None
            assert number not in case.poison | case.liars
            assert output.value == b'{"y":%d.0}' % (2 * number + 1), "the answer to this record, and to no other"
        else:
            assert output.topic == "dlq"
            assert output.value == record.value
            guilty = number in case.poison | case.liars
            if number is None:
                assert headers["inference.error.stage"] == b"decode"
            else:
                assert headers["inference.error.stage"] == b"predict"
                assert guilty or not innocent_must_pass, headers["inference.error.message"]


# ---------------------------------------------------------------------- with a client in the process


def behaves(case: Case) -> FakeModel:
    """A server with the case's faults, which answers in any order."""
    rng = random.Random(case.seed)
    errors = {
        "busy": TransientError("busy"),
        "later": TransientError("busy", 0.001),
        "gone": UnavailableError("gone"),
        "not served": NotServedError("between two versions"),
        "malformed": MalformedAnswerError("1 row for 2"),
    }

    async def behave(call: Call) -> Answer:
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        x = np.atleast_1d(call.inputs["x"])
        numbers = x.reshape(len(x), -1)[:, 0].astype(int).tolist()
        assert len(numbers) == call.rows
        assert call.rows == 4 if case.shape == (4, 2) else call.rows <= case.size
        if case.second:
            assert np.atleast_1d(call.inputs["k"]).tolist() == numbers, "rows of all inputs stay together"
        if case.faults.get(call.number) in errors:
            error = errors[case.faults[call.number]]
            raise type(error)(*error.args)
        if case.liars.intersection(numbers):
            raise TransientError("503, though it is the row")
        if case.poison.intersection(numbers):
            raise RejectedError("bad row")
        return Answer({"y": np.array([2 * number + 1 for number in numbers], np.float32)}, "1")

    return FakeModel(behave, case.signature)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cases(("busy", "later", "gone", "not served"), liars=False))
def test_invariant(case: Case) -> None:
    """With failures that pass, and rows that are guilty: only those are dead letters."""
    case = dataclasses.replace(case, on_unavailable="hold")
    model = behaves(case)
    with serving(model) as uri:
        check(case, run(case, uri), innocent_must_pass=True)
    windows = {
        number: None if record.timestamp_ms is None else record.timestamp_ms // 1000
        for record in case.records
        if (number := case.identities.get((record.partition, record.offset))) is not None
    }
    for call in model.calls:
        x = np.atleast_1d(call.inputs["x"])
        if not x.any():
            continue  # the dispatcher's own probe, a row of zeros; every record's number is 1 or more
        seen = {windows[int(number)] for number in x.reshape(len(x), -1)[:, 0]}
        assert len(seen) == 1 or not case.windowed, "windows are never mixed"
        assert case.max_in_flight is None or model.most_in_flight <= case.max_in_flight


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cases(("busy", "gone", "malformed"), liars=True))
def test_invariant_with_a_server_that_lies(case: Case) -> None:
    """With answers that make no sense, and rows that are answered as an overload: nothing is lost, doubled or shifted."""
    with serving(behaves(case)) as uri:
        check(case, run(case, uri), innocent_must_pass=False)


# ---------------------------------------------------------------------- over the wire


@pytest.fixture(scope="module")
def stub() -> Iterator[TfServingGrpcStub]:
    with TfServingGrpcStub() as stub:
        yield stub


WIRE_FAULTS = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "malformed", "short", "long", "scalar", "no_outputs")


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(case=cases(WIRE_FAULTS, liars=False))
def test_invariant_over_grpc(stub: TfServingGrpcStub, case: Case) -> None:
    """Short, long and unreadable answers, refusals and overloads of a real server."""

    def answer(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        x = inputs["x"]
        return {"y": 2 * (x.reshape(len(x), -1)[:, 0] if x.ndim else x) + np.float32(1)}

    case = dataclasses.replace(case, on_unavailable="hold")
    stub.model = StubModel(signatures={"serving_default": (case.signature, answer)})
    stub.faults.clear()
    stub.faults.poison = lambda row: int(np.ravel(row["x"])[0]) in case.poison
    for number in range(max(case.faults, default=-1) + 1):
        kind = case.faults.get(number)
        if kind is not None and kind.isupper():
            stub.faults.fail_next(1, kind)
        elif kind is not None:
            stub.faults.answer_next(1, kind)  # type: ignore[arg-type]  # one of its kinds
    check(case, run(case, stub.uri()), innocent_must_pass=not any(kind.islower() for kind in case.faults.values()))
    assert stub.faults.in_flight == 0
