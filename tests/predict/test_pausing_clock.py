"""The clock stands still in its pauses, and goes on from where it stood."""

from __future__ import annotations

from transforms.predict.pausing_clock import PausingClock


def test_pauses_do_not_count() -> None:
    now = 100.0
    clock = PausingClock(lambda: now)
    began = clock()
    now += 1
    clock.pause()
    now += 60
    assert clock() - began == 1
    clock.pause()
    now += 60
    clock.go_on()
    clock.go_on()
    assert clock() - began == 1
    now += 2
    assert clock() - began == 3
