"""Causes: what trials have proven of an error, and when a row has a trial all the same."""

from __future__ import annotations

import pytest

from tests.dispatching import says
from transforms.errors import (
    SERVERS_TEXT,
    MergedBatchError,
    ModelError,
    ModelFailedError,
    OverloadedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.predict.causes import MOST_CAUSES, PROVEN, SAMPLE_MOST, Causes

ERROR = says(TransientError, "the model raised")


def proven(error: ModelError = ERROR) -> Causes:
    causes = Causes()
    for _ in range(PROVEN):
        causes.found_guilty(error)
    return causes


def test_a_cause_is_proven_by_several_verdicts() -> None:
    causes = Causes()
    for _ in range(PROVEN):
        assert not causes.proven(ERROR)
        assert not causes.any_proven
        causes.found_guilty(ERROR)
    assert causes.proven(ERROR)
    assert causes.any_proven


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("row 17 of request 4711 failed", "row 3 of request 9 failed", True),
        ("no model for 'abc'", "no model for 'x y'", True),
        ('column "a" is negative', 'column "b" is negative', True),
        ("out of range", "out of memory", False),
        ("can't take a negative age, won't try", "can't allocate memory, won't try", False),
    ],
)
def test_numbers_and_quoted_values_make_no_other_cause(one: str, other: str, same: bool) -> None:
    assert proven(says(TransientError, one)).proven(says(TransientError, other)) is same


def test_errors_of_another_class_are_another_cause() -> None:
    assert not proven(says(TransientError, "failed")).proven(says(ModelFailedError, "failed"))


@pytest.mark.parametrize("kind", [OverloadedError, UnavailableError, MergedBatchError, RejectedError])
def test_what_other_requests_may_have_caused_is_never_proven(kind: type[ModelError]) -> None:
    error = says(kind, "failed")
    assert not proven(error).proven(error)


@pytest.mark.parametrize("text", ["", "500", "Internal Server Error", "internal server error.", "'abc'"])
def test_what_says_nothing_is_never_proven(text: str) -> None:
    """A server that says the same of a bad value and of a lack of memory."""
    error = says(TransientError, text)
    assert not proven(error).proven(error)


def test_an_acquittal_of_what_was_said_of_several_rows_counts_for_all() -> None:
    causes = proven()
    hidden = says(TransientError, "the model raised")
    hidden.hide(SERVERS_TEXT)
    causes.acquitted(hidden)
    assert not causes.proven(ERROR)


def test_one_acquittal_counts_more_than_all_verdicts() -> None:
    causes = proven()
    causes.acquitted(ERROR)
    for _ in range(2 * PROVEN):
        causes.found_guilty(ERROR)
    assert not causes.proven(ERROR)


def test_another_model_has_other_causes() -> None:
    causes = proven()
    causes.forget()
    assert not causes.proven(ERROR)


def test_a_sample_of_the_rows_has_trials_ever_more_seldom() -> None:
    causes, gaps, since = proven(), list[int](), 0
    while len(gaps) < 8:
        if causes.samples(ERROR):
            gaps.append(since)
            since = 0
        causes.blamed(ERROR)
        since += 1
    assert gaps == [8, 16, 32, 64, 128, 256, SAMPLE_MOST, SAMPLE_MOST]


def test_there_is_no_sample_of_what_is_not_proven() -> None:
    causes = Causes()
    for _ in range(100):
        causes.blamed(ERROR)
    assert not causes.samples(ERROR)


def test_causes_that_were_seen_long_ago_are_forgotten() -> None:
    causes = proven()
    for number in range(MOST_CAUSES):
        causes.blamed(says(TransientError, "x" * number))
    assert not causes.proven(ERROR)
