"""How often garbage is collected between bundles."""

from __future__ import annotations

from pipeline.process.garbage import COLLECT_S, SHARE, Collecting


class Machine:
    """A clock, and collections that take as long as ``takes_s``."""

    def __init__(self, takes_s: float):
        self.now, self.takes_s, self.collections = 0.0, takes_s, 0

    def collect(self) -> None:
        self.collections += 1
        self.now += self.takes_s

    def run(self, seconds: float) -> None:
        """Commits ten times a second."""
        collecting = Collecting(lambda: self.now, self.collect)
        while self.now < seconds:
            collecting.between_bundles()
            self.now += 0.1


def test_quick_collections_come_every_two_seconds() -> None:
    machine = Machine(0.001)
    machine.run(100.0)
    assert 40 <= machine.collections <= 100.0 / COLLECT_S


def test_long_ones_take_a_small_share_of_the_time() -> None:
    machine = Machine(0.07)
    machine.run(1000.0)
    assert 0.5 * SHARE < machine.collections * 0.07 / 1000.0 <= 1.1 * SHARE
