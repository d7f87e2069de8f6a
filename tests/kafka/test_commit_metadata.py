"""What is committed beside each offset, and what a start finds of it."""

from __future__ import annotations

import datetime

import pytest

from transforms.kafka.commit_metadata import MOST_MARKS, claim_in, commit_metadata, started_from_in
from transforms.kafka.start_from import moment_ms, normalized

NOW = datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.UTC)


@pytest.mark.parametrize("claim", ["", "group-shard-3", "a | b"])
@pytest.mark.parametrize("marks", [(), ("earliest",), ("earliest", "2026-01-31T12:00:00+00:00", "-2h")])
def test_both_sides_are_found_again(claim: str, marks: tuple[str, ...]) -> None:
    text = commit_metadata(claim, marks)
    assert (claim_in(text), started_from_in(text)) == (claim.partition(" | ")[0], marks)


@pytest.mark.parametrize("text", [None, "", "somebody else's", "read by"])
def test_metadata_of_others_says_nothing(text: str | None) -> None:
    assert (claim_in(text), started_from_in(text)) == ("", ())


def test_kafka_takes_only_so_much_of_it() -> None:
    """4,096 bytes by default."""
    marks = [f"2026-01-31T12:00:{second:02}+00:00" for second in range(60)]
    text = commit_metadata("g" * 249, marks)
    assert started_from_in(text) == tuple(marks[-MOST_MARKS:])
    assert len(text) < 1_500


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("-2h", "2026-03-01T10:30:00+00:00"),
        ("90s", "2026-03-01T12:28:30+00:00"),
        ("3m", "2026-03-01T12:27:00+00:00"),
        ("1d", "2026-02-28T12:30:00+00:00"),
        ("-2w", "2026-02-15T12:30:00+00:00"),
        ("today", "2026-03-01T00:00:00+00:00"),
        ("yesterday", "2026-02-28T00:00:00+00:00"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00+00:00"),
    ],
)
def test_times(text: str, means: str) -> None:
    moment = moment_ms(normalized(text), NOW)
    assert moment == datetime.datetime.fromisoformat(means).timestamp() * 1000


@pytest.mark.parametrize("text", ["committed", "committed_or_earliest", "earliest", "latest"])
def test_words_that_are_no_times(text: str) -> None:
    assert moment_ms(normalized(text), NOW) is None


@pytest.mark.parametrize("text", ["", "tomorrow", "2 hours", "h", "-2x", "2026-13-01", "999999w"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        normalized(text)
