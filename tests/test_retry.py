"""The waits: full jitter under a bound that doubles, or what the server asked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.retry import RetryPolicy


class Highest(random.Random):
    """Draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_bound_doubles_up_to_the_cap() -> None:
    policy = RetryPolicy(base_s=0.05, cap_s=5.0)
    waits = [policy.delay_s(attempts, None, Highest()) for attempts in range(1, 10)]
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def test_the_wait_is_spread_over_all_of_the_bound() -> None:
    """Full jitter: clients that failed together must not come back together."""
    policy, rng = RetryPolicy(base_s=1.0), random.Random(1)
    waits = [policy.delay_s(1, None, rng) for _ in range(1000)]
    assert min(waits) < 0.01
    assert max(waits) > 0.99
    assert sum(waits) / 1000 == pytest.approx(0.5, abs=0.05)


def test_what_the_server_asks_for_wins_where_it_is_longer_even_over_the_cap() -> None:
    policy = RetryPolicy(base_s=1.0, cap_s=2.0)
    assert policy.delay_s(1, 30.0, Highest()) == 30.0
    assert policy.delay_s(2, 0.5, Highest()) == 2.0


@given(st.integers(1, 10_000), st.floats(0, 100) | st.none(), st.integers())
def test_a_wait_is_never_negative_nor_longer_than_needed(attempts: int, asked: float | None, seed: int) -> None:
    """After any number of attempts: 2 ** 10000 is no float."""
    wait = RetryPolicy().delay_s(attempts, asked, random.Random(seed))
    assert (asked or 0.0) <= wait <= max(5.0, asked or 0.0)
