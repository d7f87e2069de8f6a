"""``Lanes``: connections of their own, and what becomes of them when nobody needs them any more."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from transforms.predict.endpoint import Endpoint, Lanes


class Counted:
    """As much of an endpoint as ``Lanes`` sees."""

    def __init__(self) -> None:
        self.disconnected = 0
        self.done = asyncio.Event()

    async def disconnect(self) -> None:
        self.disconnected += 1
        self.done.set()


def lanes_of(count: int, kept_s: float | None) -> tuple[Lanes, list[Counted]]:
    endpoints = [Counted() for _ in range(count)]
    return Lanes(cast(list[Endpoint], endpoints), kept_s), endpoints


def test_unused_connections_are_given_up_all_together() -> None:
    async def body() -> None:
        lanes, endpoints = lanes_of(2, 0.0)
        async with lanes.take() as first, lanes.take() as second:
            assert {first, second} == set(cast(Any, endpoints))
        await asyncio.gather(*(endpoint.done.wait() for endpoint in endpoints))
        assert [endpoint.disconnected for endpoint in endpoints] == [1, 1]
        async with lanes.take():
            pass
        await lanes.settle()

    asyncio.run(body())


def test_not_while_one_of_them_is_in_use() -> None:
    async def body() -> None:
        lanes, endpoints = lanes_of(2, 0.0)
        async with lanes.take():
            async with lanes.take():
                pass
            for _ in range(5):
                await asyncio.sleep(0)
            assert [endpoint.disconnected for endpoint in endpoints] == [0, 0]
        async with lanes.take():  # again before the time is over
            for _ in range(5):
                await asyncio.sleep(0)
            assert [endpoint.disconnected for endpoint in endpoints] == [0, 0]

    asyncio.run(body())


def test_nor_where_it_is_the_one_that_all_requests_share_or_after_the_end() -> None:
    async def body() -> None:
        for kept_s in (None, 0.0):
            lanes, endpoints = lanes_of(1, kept_s)
            async with lanes.take():
                pass
            await lanes.settle()
            for _ in range(5):
                await asyncio.sleep(0)
            assert endpoints[0].disconnected == 0

    asyncio.run(body())
