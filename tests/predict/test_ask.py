"""Asking a server what it serves: again while it is down, and not for ever unless told so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.dispatching import Highest, Time, recording
from tests.fake_model import FakeModel, serving
from transforms.clients.base import ModelClient
from transforms.errors import NotServedError, UnavailableError
from transforms.guard import CHECK_S, BundleGuard
from transforms.predict.ask import ask_model, ask_until_served
from transforms.predict.options import FAIL, HOLD, DispatchOptions
from transforms.retry import RetryPolicy
from transforms.types import ModelMetadata


class Down(FakeModel):
    """Does not answer the first ``failures`` questions."""

    def __init__(self, failures: int):
        super().__init__()
        self.failures = failures

    def client(self) -> ModelClient:
        model, client = self, super().client()
        answer = client.metadata

        async def metadata(timeout_s: float) -> ModelMetadata:
            found = await answer(timeout_s)
            if model.metadata_calls <= model.failures:
                raise UnavailableError("refused")
            return found

        client.metadata = metadata  # type: ignore[method-assign]  # this one only
        return client


@pytest.fixture
def time() -> Iterator[Time]:
    with recording():
        yield Time()


def ask(
    model: FakeModel, time: Time, on_unavailable: str, deadline_s: float = 60.0, guard: BundleGuard | None = None
) -> ModelMetadata:
    options = DispatchOptions(retry=RetryPolicy(deadline_s), on_unavailable=on_unavailable)
    with serving(model) as uri:
        return ask_until_served(uri, None, options, time, time.sleep, Highest(), guard)


def test_a_server_that_comes_up_in_time_is_waited_for(time: Time) -> None:
    model = Down(3)
    assert ask(model, time, FAIL) == model.metadata
    assert (model.metadata_calls, model.closed, len(time.slept)) == (4, 1, 3)


def test_at_the_deadline_it_fails_unless_it_shall_hold(time: Time) -> None:
    model = Down(10**6)
    with pytest.raises(UnavailableError, match="the model server is down: refused"):
        ask(model, time, FAIL)
    assert 60 <= sum(time.slept) < 120
    assert model.closed == 1
    with recording() as recorder:
        assert ask(Down(100), Time(), HOLD).model == "fake"
    assert recorder.held[-1] is None, "told that it is over"
    assert "the model server: refused" in recorder.held


class Guard:
    """Gives the bundle up after ``most`` looks."""

    def __init__(self, most: int):
        self.most, self.looks = most, 0

    def keep_alive(self, holding: bool = False) -> bool:
        self.looks += 1
        return self.looks <= self.most


def test_the_source_is_kept_alive_meanwhile(time: Time) -> None:
    guard = Guard(10**6)
    assert ask(Down(20), time, HOLD, guard=guard).model == "fake"
    assert max(time.slept) <= CHECK_S
    assert guard.looks == len(time.slept)


def test_a_bundle_that_is_given_up_waits_no_longer(time: Time) -> None:
    with pytest.raises(UnavailableError, match="was given up"):
        ask(Down(10**6), time, HOLD, guard=Guard(5))
    assert sum(time.slept) <= 6 * CHECK_S


def test_what_is_not_served_is_told_at_once(time: Time) -> None:
    class Unknown(Down):
        def client(self) -> ModelClient:
            client = super().client()

            async def metadata(timeout_s: float) -> ModelMetadata:
                raise NotServedError("no such model")

            client.metadata = metadata  # type: ignore[method-assign]  # this one only
            return client

    with pytest.raises(NotServedError):
        ask(Unknown(0), time, HOLD)
    assert time.slept == []


def test_it_may_be_asked_inside_of_a_running_loop() -> None:
    """As a notebook's cells are."""

    async def cell() -> ModelMetadata:
        with serving(FakeModel()) as uri:
            found = ask_model(uri, None, 1.0)
        await asyncio.sleep(0)
        return found

    assert asyncio.run(cell()).version == "7"
