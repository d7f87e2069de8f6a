"""Requests in flight are counted from sending until they are taken: reading ahead and cancelling go by that."""

from __future__ import annotations

from tests.dispatching import dispatcher, x_of
from tests.fake_model import FakeModel
from transforms.predict.batching import Batch, Part, PendingChunk
from transforms.predict.dispatch import Dispatcher
from transforms.predict.request_loop import Requests
from transforms.types import DecodedChunk


def batch(value: float) -> Batch:
    pending = PendingChunk.of(DecodedChunk([], [], {}))
    return Batch([Part(pending, range(1), x_of(value))], 1)


async def made() -> Dispatcher:
    return dispatcher(FakeModel())


def test_in_flight_is_what_was_sent_and_not_yet_taken() -> None:
    requests = Requests(made())
    assert requests.in_flight == 0
    requests.send([batch(1.0), batch(2.0)])
    assert requests.in_flight == 2
    taken = []
    while requests.in_flight:
        taken += requests.take(60)
        assert requests.in_flight == 2 - len(taken)
    assert [len(one.results) for one in taken] == [1, 1]
    requests.send([batch(3.0)])
    requests.cancel()
    assert requests.in_flight == 0
    requests.close()
