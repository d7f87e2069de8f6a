"""What the live status draws: it fits the terminal, and says what it left out."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeline.reporting.lag import Lag
from pipeline.reporting.live_view import Choice, view
from pipeline.reporting.moment import Moment
from tests.pipeline.reporting.moments import Latest, moment, worker, wrote_dead_letter

SCREENS = [(80, 24), (120, 40)]
MANY = Lag({("orders.of-the-european-shops", number): (number * 7919) % 1000 for number in range(300)}, 150.0)
AT_A_KEYBOARD = Choice(keys=True)
ON_A_KEY = Choice(keys=True, partitions=True)


def drawn(moment: Moment, width: int = 80, height: int = 24, choice: Choice = AT_A_KEYBOARD) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(view(moment, console, choice))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def everything() -> Moment:
    """A job of which there is much to say."""
    stats = worker(12_345_678, holding="[bold]the model server[/]: connection refused")
    for number in range(7):
        wrote_dead_letter(stats, "predict", f"Class{number}", f"{number}: it wants float32[?,10], and " + 30 * "so on ")
    return moment(stats, Latest(), MANY)


@pytest.mark.parametrize(("width", "height"), SCREENS)
@pytest.mark.parametrize("choice", [Choice(), AT_A_KEYBOARD, ON_A_KEY])
def test_it_fits_the_terminal(width: int, height: int, choice: Choice) -> None:
    lines = drawn(everything(), width, height, choice)
    assert max(map(len, lines)) <= width
    assert len(lines) < height, "the last line is the cursor's"


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_the_figures(width: int, height: int) -> None:
    text = "\n".join(
        drawn(moment(worker(12_345_678), Latest(), Lag({("in", 0): 1000, ("in", 1): 234}, 150.0)), width, height)
    )
    for expected in ("12,345,678", "1,234", "about 2 min", "1,234,568", "wrong, it is 3"):
        assert expected in text
    assert "scoring 2 partitions; 2 of 16 requests in flight; model version 3" in text
    assert ("to go by partition: in/0 1,000, in/1 234" in text) is (width == 120)


@pytest.mark.parametrize(
    ("in_flight", "limit", "said"),
    [
        (2, 16, "2 of 16 requests in flight"),
        (1, 1, "1 of 1 request in flight"),
        (17, 14, "17 requests in flight, limit 14"),
    ],
)
def test_a_limit_that_was_lowered_is_below_what_is_in_flight(in_flight: int, limit: int, said: str) -> None:
    """17 of 14 looked like a mistake of the program."""
    stats = worker()
    stats.requesting(in_flight, limit)
    assert f"scoring 2 partitions; {said}; model version 3" in "\n".join(drawn(moment(stats)))


def test_without_predictions_so_far_there_is_no_empty_line_for_them() -> None:
    class Nothing(Latest):
        latest = ()

    assert drawn(moment(worker(), Nothing())) == drawn(moment(worker()))


def test_before_the_first_record_stands_what_is_awaited() -> None:
    stats = worker(0)
    assert "connecting to Kafka" in drawn(moment(stats))
    stats.polled()
    assert "joining the consumer group" in drawn(moment(stats))


def test_a_hold_is_said_once() -> None:
    lines = drawn(moment(worker(holding="the model server: connection refused")))
    assert [line for line in lines if "waiting for" in line] == ["waiting for the model server: connection refused"]


def test_a_dead_letter_class_has_the_last_reason() -> None:
    stats = worker(kinds={})
    wrote_dead_letter(stats, "decode", "FieldError", "amount: the first")
    wrote_dead_letter(stats, "predict", "FieldError", "amount: the last [red]one[/]\nof them")
    wrote_dead_letter(stats, "decode", "Tombstone", "the value is null")
    lines = drawn(moment(stats))
    assert [line.split() for line in lines if "Tombstone" in line] == [["Tombstone", "1", "the", "value", "is", "null"]]
    assert [line for line in lines if "amount" in line] == [" FieldError    2  amount: the last [red]one[/]\\nof them"]


def test_a_long_reason_has_a_second_line_where_there_is_room() -> None:
    stats = worker(kinds={})
    wrote_dead_letter(stats, "decode", "FieldError", "金額: " + 12 * "expected float32[?,10] " + "came a text")
    lines = drawn(moment(stats))
    [at] = [number for number, line in enumerate(lines) if "FieldError" in line]
    assert lines[at].startswith(" FieldError    1  金額: expected float32[?,10]")
    assert lines[at + 1].startswith("                  float32[?,10] expected")
    assert lines[at + 1].endswith("…")
    assert lines[at + 2].startswith("p: ")
    assert len(drawn(moment(stats), height=len(lines))) == len(lines) - 1, "a lower terminal has no room for it"


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_a_long_reason_is_cut_and_rare_classes_are_counted(width: int, height: int) -> None:
    lines = drawn(everything(), width, height)
    [at] = [number for number, line in enumerate(lines) if "Class0" in line]
    cut = lines[at] if height == 24 else lines[at + 1]  # where there is room a reason has two lines
    assert cut.endswith("…")
    assert width - 3 < len(cut) <= width
    assert "Class1" in lines[lines.index(cut) + 1]
    assert " and 5 more, of 5 other classes" in lines
    assert not [line for line in lines if "Class5" in line or "Tombstone" in line]


def test_a_class_whose_outputs_are_not_seen_has_no_reason() -> None:
    """As with Beam's Java transforms, which write the records themselves."""
    assert " Rejected      1" in drawn(moment(worker()))


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_a_key_press_shows_the_partitions_that_are_most_behind(width: int, height: int) -> None:
    lines = drawn(moment(worker(), Latest(), MANY), width, height, ON_A_KEY)
    [heading] = [line for line in lines if line.startswith("to go by partition")]
    shown = [word for line in lines for word in line.split() if word.startswith("orders.of")]
    assert heading == f"to go by partition, the most first and {300 - len(shown)} more"
    by_lag = sorted(MANY.partitions.items(), key=lambda item: (-item[1], item[0]))
    assert sorted(shown) == sorted(f"{topic}/{number}" for (topic, number), _ in by_lag[: len(shown)])
    assert lines[lines.index(heading) + 1].split()[:2] == ["orders.of-the-european-shops/284", "996"]
    assert len(shown) >= (20 if width == 80 else 80)
    assert not [line for line in lines if "digit-" in line], "they have no room beside it"
    assert lines[-1] == "p: without the partitions"


def test_few_partitions_and_none_that_is_known() -> None:
    lines = drawn(moment(worker(), lag=Lag({("in", 1): 5, ("in", 0): 0})), choice=ON_A_KEY)
    assert lines[-3:-1] == ["to go by partition, the most first", "in/1   5  in/0   0"]
    assert "to go by partition: not known, or not yet (the demo's broker does not say it)" in drawn(
        moment(worker()), choice=ON_A_KEY
    )


def test_a_long_topic_keeps_its_partitions_number() -> None:
    [line] = [
        line for line in drawn(moment(worker(), lag=Lag({("t" * 249, 12): 5})), choice=ON_A_KEY) if line.startswith("tt")
    ]
    assert line.split() == ["t" * 36 + "…/12", "5"]
