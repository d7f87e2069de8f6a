"""One renewal at a time, which no request's end ends."""

from __future__ import annotations

import asyncio

import pytest

from transforms.clients.wire.renewal import Renewal
from transforms.errors import NotServedError, UnavailableError


class Login:
    """Renewed by ``Renewal``; ``go`` lets a renewal end."""

    def __init__(self) -> None:
        self.renewals, self.now, self.error = 0, 0.0, False
        self.go = asyncio.Event()
        self.renewal = Renewal(self.renew, 30.0, "a password", lambda: self.now)

    async def renew(self) -> None:
        self.renewals += 1
        await self.go.wait()
        if self.error:
            raise NotServedError("refused")


def test_all_who_wait_share_one_and_one_that_is_cancelled_takes_none_with_it() -> None:
    async def run() -> None:
        login = Login()
        first, second = asyncio.create_task(login.renewal.done()), asyncio.create_task(login.renewal.done())
        await asyncio.sleep(0)
        first.cancel()
        login.go.set()
        await second
        assert first.cancelled()
        assert login.renewals == 1
        await login.renewal.done()
        assert login.renewals == 2

    asyncio.run(run())


def test_one_in_the_background_is_not_tried_again_at_once() -> None:
    async def run() -> None:
        login = Login()
        login.error = True
        login.go.set()
        for login.now, renewals in ((0.0, 1), (29.0, 1), (30.0, 2)):
            login.renewal.try_again()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert login.renewals == renewals

    asyncio.run(run())


def test_its_error_is_raised_where_it_is_waited_for_and_so_is_the_clients_end() -> None:
    async def run() -> None:
        login = Login()
        login.error = True
        waiting = asyncio.create_task(login.renewal.done())
        await asyncio.sleep(0)
        await login.renewal.close()
        with pytest.raises(UnavailableError, match="closed while it waited for a password"):
            await waiting
        login.go.set()
        with pytest.raises(NotServedError, match="refused"):
            await login.renewal.done()

    asyncio.run(run())
