"""A scenario does not wait for what its own model server holds back."""

from __future__ import annotations

import random

from tests.chaos.stream import HELP_ROWS, Stream
from tests.integration.process import Job
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub


def test_what_needs_answers_gets_some_where_all_are_held() -> None:
    """``answers-cut`` waited for 300 s for answers to cut, when as many rows were answered as it had allowed before."""
    with TfServingGrpcStub() as stub:
        stream = Stream(Job("", (), "", ""), stub, random.Random(1), True, print)
        stub.faults.hold_after(0)
        held = stub.faults.hold()
        assert held is not None
        stream.until(lambda: not stub.faults.holds(held), "answer")
        assert stub.faults.hold() is None, "what is asked next is answered, ..."
        stub.faults.rows_answered += HELP_ROWS
        assert stub.faults.hold() is not None, "... and held again after so many rows"
