"""Which errors a person has to mend, and which may be gone the next time."""

from __future__ import annotations

import pytest

from pipeline.dead_letter_tools.exit_status import exit_status
from transforms.errors import ContractError, KafkaError, NotReadyError, ScoringError, UnavailableError


@pytest.mark.parametrize(
    ("error", "wait_s", "status"),
    [
        (ContractError("no such topic"), 60.0, 2),
        (NotReadyError("nobody answers"), 0.0, 2),
        (NotReadyError("nobody came"), 60.0, 1),
        (KafkaError("gone"), 0.0, 1),
        (UnavailableError("the model server is down"), 0.0, 1),
    ],
)
def test_exit_status(error: ScoringError, wait_s: float, status: int) -> None:
    assert exit_status(error, wait_s) == status
