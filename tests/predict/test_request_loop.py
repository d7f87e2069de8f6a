"""Requests in flight are counted from sending until they are taken: reading ahead and cancelling go by that."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from tests.dispatching import dispatcher, x_of
from tests.fake_model import FakeModel
from transforms.predict import request_loop
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


def test_a_look_up_that_hangs_does_not_delay_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio looks names up in a thread, by a call that nothing can end. Its result then finds the loop closed."""
    answered, asked = threading.Event(), threading.Event()
    ended: list[threading.Thread] = []
    tasks: list[asyncio.Task[object]] = []

    def look_up(*_: object, **__: object) -> list[object]:
        ended.append(threading.current_thread())
        asked.set()
        answered.wait(60)
        return []

    async def looking_up() -> Dispatcher:
        loop = asyncio.get_running_loop()
        tasks.append(loop.create_task(loop.getaddrinfo("name", 1)))
        return await made()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        patch.setattr(request_loop, "LOOKUP_S", 0.0)
        requests = Requests(looking_up())
        requests.turn()
        assert asked.wait(60)
        tasks[0].cancel()
        closing = threading.Thread(target=requests.close, daemon=True)
        closing.start()
        closing.join(30)
        in_time = not closing.is_alive()
        answered.set()
    assert in_time
    assert [line for line in caplog.messages if "the end of the requests: 1; not waiting" in line]
    ended[0].join(60)
    assert not [line for line in caplog.messages if "exception" in line.lower()]
