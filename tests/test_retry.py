"""The waits: full jitter under a bound that doubles, or what the server asked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.retry import Deadline, Retries, RetryPolicy, read_retry_after


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
    assert min(asked or 0.0, 60.0) <= wait <= max(5.0, min(asked or 0.0, 60.0))


@pytest.mark.parametrize("asked", [61.0, 99_999_999.0, 1e300, float("inf")])
def test_no_server_makes_a_wait_longer_than_the_deadline(asked: float) -> None:
    policy = RetryPolicy(deadline_s=60.0)
    assert policy.delay_s(1, asked, Highest(), left_s=12.5) == 12.5, "the next attempt is at the deadline"
    assert policy.delay_s(1, asked, Highest(), left_s=-3.0) == 60.0, "a job that holds asks again"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("7", 7.0),
        (" 7\t", 7.0),
        ("1.5", 1.5),
        ("9" * 400, float("inf")),
        ("9\x1f", None),
        ("9\x0b", None),
        ("9\x00", None),
        ("٩", None),
        ("-1", None),
        ("1e400", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Sun, 06 Nov 99999999999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +9999999999", None),
        ("Mon, 99 Foo", None),
    ],
)
def test_what_a_server_asks_for_is_read_or_ignored(text: str | None, expected: float | None) -> None:
    assert read_retry_after(text, now_s=60.0) == expected


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,12} [A-Z][a-z]{2} \d{1,12} \d+:\d+:\d+ [+-]\d{1,9}"))
def test_whatever_a_server_asks_for_is_no_error_and_not_negative(text: str) -> None:
    asked = read_retry_after(text, now_s=60.0)
    assert asked is None or asked >= 0


class Clock:
    """Seconds that only a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_passes_when_its_seconds_are_over() -> None:
    clock = Clock()
    deadline = Deadline(2.0, clock)
    assert (deadline.passed, deadline.left_s) == (False, 2.0)
    clock.now += 1.5
    assert (deadline.passed, deadline.left_s) == (False, 0.5)
    clock.now += 0.5
    assert (deadline.passed, deadline.left_s) == (True, 0.0)
    clock.now += 5
    assert (deadline.passed, deadline.left_s) == (True, 0.0)


def test_a_wait_in_steps_ends_with_what_is_left() -> None:
    clock, slept = Clock(), []
    for pause_s in Deadline(0.625, clock).pauses(0.25):
        slept.append(pause_s)
        clock.now += pause_s
    assert slept == [0.25, 0.25, 0.125]


def test_a_sleep_that_takes_longer_than_asked_for_is_not_added_up() -> None:
    clock, slept = Clock(), []
    for pause_s in Deadline(1.0, clock).pauses(0.25):
        slept.append(pause_s)
        clock.now += 0.75
    assert slept == [0.25, 0.25]


def test_retries_are_counted_and_exhausted_at_the_policys_deadline() -> None:
    clock = Clock()
    retries = Retries(RetryPolicy(deadline_s=3.0, base_s=0.5), clock, Highest())
    retries.failed += 1
    assert (retries.exhausted, retries.delay_s(None), retries.delay_s(2.0)) == (False, 0.5, 2.0)
    clock.now += 1.0
    assert retries.delay_s(9.0) == 2.0, "what is left"
    clock.now -= 1.0
    retries.failed += 1
    clock.now += 3.0
    assert (retries.exhausted, retries.elapsed_s, retries.delay_s(None)) == (True, 3.0, 1.0)
