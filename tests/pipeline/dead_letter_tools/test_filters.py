"""What the filters leave out is told by class, so that a misspelt class is not taken for an empty topic."""

from __future__ import annotations

import io
from collections import Counter

from pipeline.dead_letter_tools.filters import classes_left_out
from pipeline.dead_letter_tools.output import print_counts
from pipeline.dead_letter_tools.selecting import Counts

OTHERS = Counter({"JsonError": 80, "FieldError": 1600})


def test_the_classes_that_are_left_out() -> None:
    assert classes_left_out(OTHERS, []) == " (FieldError 1,600, JsonError 80)"
    assert classes_left_out(OTHERS, ["Tombstone"]) == " (FieldError 1,600, JsonError 80)"


def test_a_misspelt_class_is_asked_about() -> None:
    said = classes_left_out(OTHERS, ["FieldEror", "JsonError"])
    assert said == " (FieldError 1,600, JsonError 80); --error_class=FieldEror; did you mean FieldError?"
    assert classes_left_out(Counter({"\x1b[2J": 1}), [])[2:].isprintable(), "other programs write to the topic, too"


def test_a_replay_tells_it_with_its_counts() -> None:
    out = io.StringIO()
    print_counts(Counts(read=1680, others=OTHERS), out, score=False, dry_run=False, stopped=False, classes=["FieldEror"])
    assert (
        "1,680, which the filters leave out (FieldError 1,600, JsonError 80); --error_class=FieldEror; did you"
        in out.getvalue()
    )
