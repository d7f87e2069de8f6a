"""A drain is requested by a signal, in the middle of whatever the main thread does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from pipeline.process.signals import drain_on_signals
from transforms.kafka.stop import draining, request_drain, reset_drain

pytestmark = pytest.mark.usefixtures("not_draining")


def interrupted(work: Callable[[], object], handle: Callable[[], object]) -> bool:
    """Calls ``handle`` before each line that ``work`` runs, as a signal would; returns whether it came to its end."""

    def at_each_line(frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            handle()
        return at_each_line

    def run() -> None:
        sys.settrace(at_each_line)
        work()
        sys.settrace(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


def test_a_drain_is_requested_in_the_middle_of_anything() -> None:
    for work in (reset_drain, request_drain, draining):
        assert interrupted(work, request_drain), work
    assert draining()


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_second_signal_in_the_handler_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    drain_on_signals(request_drain)
    handle: Any = signal.getsignal(signal.SIGTERM)
    assert interrupted(lambda: handle(signal.SIGINT, None), lambda: handle(signal.SIGTERM, None))
    assert draining()
    assert ended
