"""``Encode`` and ``DeadLetters``: the same records as the pipeline writes, from single outcomes."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from tests.beam_run import run
from transforms import DeadLetters, Encode, FailedElement, Failure, KafkaRecord, OutputRecord, Prediction
from transforms.encode.encoder import Encoder
from transforms.encode.transform import OutcomeEncoder
from transforms.errors import ContractError
from transforms.outcomes import Outcome, outcomes_of
from transforms.types import AnsweredSegment, PredictedChunk


def record(offset: int, value: bytes = b'{"a":1}') -> KafkaRecord:
    return KafkaRecord("in", 3, offset, 1_000, b"k", value, [("h", b"1")])


RECORDS = [record(offset) for offset in range(4)]
OUTPUTS: dict[str, Any] = {
    "n": np.array([1.1, 2.2, np.nan], np.float32),
    "v": np.array([[1, 2], [3, 4], [5, 6]]),
    "s": np.array([b"a", b"b", b"\xff"], object),
    "r": [[{"label": "x"}], [], [1]],
}
CHUNK = PredictedChunk(
    RECORDS,
    [AnsweredSegment([0, 1, 3], OUTPUTS, "7", 1.25, 2, (("inference.deployed_model", b"5"),))],
    {2: Failure("predict", "Rejected", "bad", 3)},
)


@pytest.mark.parametrize("mode", ["prediction", "merge"])
def test_encode_writes_what_the_pipeline_writes(mode: str) -> None:
    """Outcome by outcome the same as a whole chunk."""
    outcomes = outcomes_of(RECORDS, CHUNK, "model")
    expected = Encoder("out", "out.dead-letter", "model", output_mode=mode).encode(CHUNK)
    assert _run_here(outcomes, output_mode=mode) == expected
    assert [output.failed_stage for output in expected] == [None, None, "predict", None]


def one_more(fields: dict[str, Any]) -> dict[str, Any]:
    return {"n": fields["n"] + 1}


def test_a_function_of_the_user_s() -> None:
    outcomes = outcomes_of(RECORDS, CHUNK, "model")
    found = _run_here(outcomes, postprocess=one_more)
    assert [record.failed_stage for record in found] == [None, None, "predict", "encode"]
    assert found[0].value == b'{"n":2.1}'


def _run_here(outcomes: list[Outcome], **options: Any) -> list[OutputRecord]:
    """Through the encoder alone: what Beam does to the values is another test's."""
    encoder = pickle.loads(pickle.dumps(OutcomeEncoder("out", **options)))  # our own
    return [encoder.encode(outcome, outcome.element) for outcome in outcomes]


def test_in_a_pipeline() -> None:
    prediction = Prediction(record(0), {"y": np.array([0.5, 0.25], np.float32)}, "m", "7", 1.25, 2)
    failed = FailedElement(record(1), Failure("decode", "TooOld", "older than a day"))

    def check(found: list[OutputRecord]) -> None:
        first = found[0]
        assert json.loads(first.value or b"")["label"] == "cat"
        assert (first.topic, first.key, first.timestamp_ms, first.source) == ("out", b"k", 1_000, ("in", 3, 0))
        assert dict(first.headers)["inference.version"] == b"7"
        check_dead(found[1:])

    def check_dead(found: list[OutputRecord]) -> None:
        [dead] = found
        assert (dead.topic, dead.key, dead.value, dead.failed_stage) == ("dlq", b"k", b'{"a":1}', "decode")
        assert dict(dead.headers)["inference.error.class"] == b"TooOld"
        assert dict(dead.headers)["inference.source"] == b"in/3/1"

    run([prediction, failed], Encode("out", "dlq", labels=["cat", "dog"], top_k=1), check)
    run([failed], DeadLetters("dlq"), check_dead)


def test_what_has_no_record_can_not_be_written() -> None:
    prediction = Prediction({"x": 1}, {"y": 1.0}, "m", "7", 1.25, 2)
    with pytest.raises(TypeError, match=r"KafkaRecord.*not dict"):
        run([prediction], Encode("out"), lambda _: None)
    with pytest.raises(TypeError, match="DeadLetters takes FailedElement values, not Prediction"):
        run([prediction], DeadLetters("dlq"), lambda _: None)


def test_wrong_arguments_are_told_where_they_are_written() -> None:
    with pytest.raises(ContractError, match="--output_mode=both"):
        Encode("out", output_mode="both")


def test_an_outcome_that_is_missing_is_no_silent_loss() -> None:
    with pytest.raises(ValueError, match="2 elements, but 1 outcomes"):
        outcomes_of([1, 2], PredictedChunk([], [AnsweredSegment([0], {"y": [2.0]}, "7", 1, 1)], {}), "m")
