"""A new model version with another signature, while the job runs: Decode, Predict and the records themselves."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest

from tests.dispatching import Recorder, recording
from tests.fake_model import Call, FakeModel, doubled, serving, signature
from transforms.errors import RejectedError, UnavailableError
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.options import DispatchOptions
from transforms.retry import RetryPolicy
from transforms.stages import DecodeAgain, DecodeChunks, DecodeConfig
from transforms.types import Answer, KafkaRecord, PredictedChunk, Signature, TensorSpec

RECORDS, CHUNK = 200, 20
OLD = signature((-1, 1))


def records(fields: tuple[str, ...]) -> Iterator[list[KafkaRecord]]:
    for at in range(0, RECORDS, CHUNK):
        yield [
            KafkaRecord("in", 0, offset, None, None, json.dumps({name: [offset + 1] for name in fields}).encode(), [])
            for offset in range(at, at + CHUNK)
        ]


class Upgraded:
    """A model that has the new signature from its ``after``-th request on."""

    def __init__(self, new: Signature, after: int):
        self.new, self.after = new, after
        self.model = FakeModel(self.behave, OLD)
        self.built_for = self.model.metadata

    async def behave(self, call: Call) -> Answer:
        await asyncio.sleep(0)
        if call.number >= self.after:
            self.model.metadata = dataclasses.replace(self.model.metadata, version="8", signature=self.new)
            wanted = self.new.inputs
            if set(call.inputs) != set(wanted) or any(call.inputs[n].dtype != np.dtype(s.dtype) for n, s in wanted.items()):
                raise RejectedError("INVALID_ARGUMENT: inputs do not match the signature")
            return Answer({"y": 10 * next(iter(call.inputs.values()))}, "8")
        return await doubled(call)


def score(upgraded: Upgraded, fields: tuple[str, ...], on_unavailable: str = "fail") -> list[PredictedChunk]:
    return score_chunks(upgraded, list(records(fields)), on_unavailable)


def score_chunks(upgraded: Upgraded, chunks: list[list[KafkaRecord]], on_unavailable: str = "fail") -> list[PredictedChunk]:
    """All records in one bundle, as a worker runs it."""
    config = DecodeConfig(OLD)
    retry = RetryPolicy(0.05, 0.001, 0.005)
    decode = DecodeChunks(config)
    with serving(upgraded.model) as uri:
        predict_config = PredictConfig(
            uri, upgraded.built_for, dispatch=DispatchOptions(10, retry, on_unavailable, 4), batch_max_size=8
        )
        predict = PredictChunks(predict_config, make_decoder=DecodeAgain(config))
        decode.setup()
        predict.setup()
        try:
            predict.start_bundle()
            found = [p for chunk in chunks for d in decode.process(chunk) for p in predict.process(d)]
            return found + [windowed.value for windowed in predict.finish_bundle()]
        finally:
            predict.teardown()
            decode.teardown()


def answers(chunks: list[PredictedChunk]) -> list[tuple[int, str, float]]:
    """Offset, version and output of each record, in the order of the chunks; there is no failure among them."""
    found = []
    for chunk in chunks:
        assert chunk.failures == {}
        rows = {
            row: (chunk.records[row].offset, answered.version, float(np.ravel(value)[0]))
            for answered in chunk.answers
            for row, value in zip(answered.rows, answered.outputs["y"], strict=True)
        }
        found += [rows[row] for row in range(len(chunk.records))]
    return found


@pytest.fixture
def heard() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.mark.parametrize("after", [0, 7])
@pytest.mark.parametrize(
    "inputs",
    [{"z": TensorSpec("float32", (-1, 1))}, {"x": TensorSpec("int64", (-1, 1))}],
    ids=["another name", "another dtype"],
)
def test_records_that_fit_the_new_signature_are_decoded_again(
    inputs: dict[str, TensorSpec], after: int, heard: Recorder
) -> None:
    """No dead letter, each record once and in order; what version 7 answered in time stays."""
    upgraded = Upgraded(dataclasses.replace(OLD, inputs=inputs), after)
    found = answers(score(upgraded, ("x", "z")))
    assert [offset for offset, _, _ in found] == list(range(RECORDS))
    for offset, version, output in found:
        assert output == (2 if version == "7" else 10) * (offset + 1)
    assert {version for _, version, _ in found} >= {"8"}
    assert heard.held == []


@pytest.mark.parametrize("old_records", [0, 5])
def test_records_that_fit_only_the_new_signature_are_no_dead_letters(old_records: int, heard: Recorder) -> None:
    """None of them is asked for with the old signature, so that no refusal tells of the new one: the server is asked."""
    upgraded = Upgraded(dataclasses.replace(OLD, inputs={"z": TensorSpec("float32", (-1, 1))}), 0)
    both, new = list(records(("x", "z"))), list(records(("z",)))
    upgraded.model.metadata = dataclasses.replace(upgraded.model.metadata, version="8", signature=upgraded.new)
    found = answers(score_chunks(upgraded, [*both[:old_records], *new[old_records:]]))
    assert found == [(offset, "8", 10.0 * (offset + 1)) for offset in range(RECORDS)]
    assert heard.held == []


def test_misfits_of_a_model_that_has_not_changed_are_dead_letters_and_cost_one_question() -> None:
    upgraded = Upgraded(OLD, 10**6)
    (chunk, *_) = chunks = score_chunks(upgraded, list(records(("z",))))
    assert {failure.error_class for chunk in chunks for failure in chunk.failures.values()} == {"FieldError"}
    assert len(chunk.failures) == CHUNK
    assert upgraded.model.metadata_calls == 1


def test_records_that_do_not_fit_it_are_no_dead_letters() -> None:
    """The name of what they lack is in the message; none is written as a dead letter."""
    upgraded = Upgraded(dataclasses.replace(OLD, inputs={"z": TensorSpec("float32", (-1, 1))}), 7)
    with pytest.raises(UnavailableError, match=r"\(version 8\): input x is gone; input z: float32.* is new.*z: missing"):
        score(upgraded, ("x",))


def test_with_dead_letters_for_an_outage_it_is_one() -> None:
    upgraded = Upgraded(dataclasses.replace(OLD, inputs={"z": TensorSpec("float32", (-1, 1))}), 7)
    failures = [failure for chunk in score(upgraded, ("x",), "dead_letter") for failure in chunk.failures.values()]
    assert {failure.error_class for failure in failures} == {"Unavailable"}
