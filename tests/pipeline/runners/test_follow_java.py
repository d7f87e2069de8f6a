"""When a job of Beam's Java pair is ended, and what is committed then; with time, runner and outputs that the test makes."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.job import Job
from pipeline.runners.follow_java import follow
from tests.fake_model import signature
from transforms.kafka.beam.gate import Passed
from transforms.kafka.config import KafkaConfig
from transforms.kafka.stop import StopConditions, request_drain
from transforms.predict.dofn import PredictConfig
from transforms.stages import DecodeConfig, EncodeConfig
from transforms.types import KafkaRecord, ModelMetadata

pytestmark = pytest.mark.usefixtures("not_draining")

SERVED = signature((-1,))


def job() -> Job:
    predict = PredictConfig("grpc://h:1/m", ModelMetadata("m", "1", SERVED))  # its requests are retried for 60 s
    return Job(
        KafkaConfig("h:1", ("in",), "g"), StopConditions(), DecodeConfig(SERVED), predict, EncodeConfig("o", "d", "m")
    )


class Result:
    """A pipeline that runs until it is cancelled, or fails."""

    def __init__(self, state: str = "RUNNING"):
        self.state = state

    def cancel(self) -> None:
        self.state = "CANCELLED"

    def wait_until_finish(self) -> None:
        raise RuntimeError("the trace of what failed")


class Outputs:
    """A ``Follower`` that finds one output of the test's list at each poll; each poll takes ten seconds."""

    def __init__(self, gate: Passed, offsets: list[int]):
        self._gate, self._offsets = gate, offsets
        self.now = 0.0
        self.committed: list[dict[Any, int]] = []

    def poll(self) -> int:
        self.now += 10.0
        if not self._offsets:
            return 0
        return int(self._gate.written("in", 0, self._offsets.pop(0)) is not None)

    def commit(self) -> None:
        self.committed.append(self._gate.positions())

    def clock(self) -> float:
        return self.now


def gate_with(records: int, stop: StopConditions | None = None) -> Passed:
    gate = Passed(stop or StopConditions(max_records=records))
    for offset in range(records):
        assert gate.admit(KafkaRecord("in", 0, offset, 0, None, b"", []))
    return gate


def test_it_ends_when_all_that_went_through_is_written() -> None:
    """Offsets move on the way, and the last of them after the end."""
    gate = gate_with(3)
    outputs, result = Outputs(gate, [0, 2, 1]), Result()
    follow(result, job(), outputs, gate, outputs.clock)  # type: ignore[arg-type]  # as a Follower
    assert result.state == "CANCELLED"
    assert [positions["in", 0] for positions in outputs.committed] == [1, 1, 3, 3]


def test_a_job_that_failed_says_why_and_commits_nothing_more() -> None:
    gate = gate_with(3)
    outputs = Outputs(gate, [])
    with pytest.raises(RuntimeError, match="the trace"):
        follow(Result("FAILED"), job(), outputs, gate, outputs.clock)  # type: ignore[arg-type]
    assert outputs.committed == []


def test_a_drain_waits_for_a_model_server_that_is_down_only_so_long(caplog: pytest.LogCaptureFixture) -> None:
    """As the native one: what was not written is not committed, and the process ends well."""
    gate = gate_with(3, StopConditions())
    request_drain()
    outputs, result = Outputs(gate, [0]), Result()
    follow(result, job(), outputs, gate, outputs.clock)  # type: ignore[arg-type]
    assert result.state == "CANCELLED"
    assert outputs.committed[-1] == {("in", 0): 1}
    assert 60 < outputs.now < 120
    assert "2 records are read again next time" in caplog.text


def test_without_a_drain_it_holds_as_long_as_it_takes() -> None:
    """A thousand seconds without an output are no reason to end."""
    gate = gate_with(2)
    outputs, result = Outputs(gate, [9] * 100 + [0, 1]), Result()
    follow(result, job(), outputs, gate, outputs.clock)  # type: ignore[arg-type]
    assert (result.state, gate.in_flight) == ("CANCELLED", 0)
    assert outputs.now > 1000
