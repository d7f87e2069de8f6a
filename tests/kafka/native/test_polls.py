"""The source's restriction: one poll a bundle, then a residual that says "poll again"."""

from __future__ import annotations

from transforms.kafka.native.polls import Polls, PollTracker


def test_one_poll_can_be_claimed() -> None:
    tracker = PollTracker(3)
    assert tracker.try_claim(3)
    assert not tracker.try_claim(4)
    assert tracker.current_restriction() == 4
    assert tracker.check_done()


def test_a_checkpoint_leaves_the_next_poll_and_nothing_can_be_claimed_after_it() -> None:
    tracker = PollTracker(3)
    tracker.try_claim(3)
    assert tracker.try_split(0) == (4, 4)
    assert tracker.try_split(0) is None
    assert not tracker.try_claim(4)


def test_a_poll_can_not_be_divided() -> None:
    assert PollTracker(0).try_split(0.5) is None


def test_it_is_a_stream() -> None:
    assert not PollTracker(0).is_bounded()
    assert PollTracker(0).current_progress().total_work > 0


def test_restrictions_survive_their_coder() -> None:
    provider = Polls()
    coder = provider.restriction_coder()
    assert coder.decode(coder.encode(5_000_000)) == 5_000_000
    assert provider.create_tracker(provider.initial_restriction(None)).current_restriction() == 0
