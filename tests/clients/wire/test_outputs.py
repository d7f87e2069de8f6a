"""Which rows an output belongs to: by its declared shape, or proven at two request sizes; never a guess."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clients.wire.outputs import OutputMatcher
from transforms.errors import MalformedAnswerError
from transforms.types import METHOD_PREDICT, Signature, TensorSpec

NAMES = np.array([b"no", b"yes"], object)


def matcher(batch: int = -1, **outputs: tuple[str, tuple[int, ...] | None]) -> OutputMatcher:
    """A matcher for a model with one input and the outputs given as name=(dtype, shape)."""
    specs = {name: TensorSpec(dtype, shape) for name, (dtype, shape) in outputs.items()}
    found = OutputMatcher("model m")
    found.signature = Signature("s", METHOD_PREDICT, {"x": TensorSpec("float32", (batch, 3))}, specs)
    return found


def scores(rows: int) -> np.ndarray:
    return np.arange(rows, dtype=np.float32)


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_a_fixed_first_dimension_is_one_value_for_the_whole_request(rows: int) -> None:
    """Also where it has as many rows as the request by chance."""
    model = matcher(score=("float32", (-1,)), names=("string", (2,)))
    matched = model.match({"score": scores(rows), "names": NAMES}, rows)
    assert list(matched.outputs["score"]) == list(scores(rows))
    assert [list(row) for row in matched.outputs["names"]] == [[b"no", b"yes"]] * rows
    assert (matched.unproven, matched.repeated) == ((), ("names",))


def test_a_scalar_is_one_value_for_the_whole_request() -> None:
    matched = matcher(threshold=("float32", ())).match({"threshold": np.array(0.5, np.float32)}, 4)
    assert list(matched.outputs["threshold"]) == [0.5] * 4


def test_the_fixed_batch_size_of_the_model_is_its_rows() -> None:
    model = matcher(8, y=("float32", (8,)), names=("string", (2,)))
    matched = model.match({"y": scores(8), "names": NAMES}, 8)
    assert (list(matched.outputs["y"]), matched.repeated) == (list(scores(8)), ("names",))


def test_an_output_of_no_rows_can_be_the_same_for_all() -> None:
    matched = matcher(empty=("float32", (0, 4))).match({"empty": np.zeros((0, 4), np.float32)}, 3)
    assert np.shape(matched.outputs["empty"]) == (3, 0, 4)


@pytest.mark.parametrize("model", [matcher(), matcher(y=("float32", None))], ids=["undeclared", "unknown rank"])
def test_undeclared_rows_are_proven_at_a_second_size(model: OutputMatcher) -> None:
    assert model.match({"y": scores(4)}, 4).unproven == ("y",)
    assert model.match({"y": scores(4)}, 4).unproven == ("y",)  # the same size again is no proof
    assert model.match({"y": scores(1)}, 1).unproven == ()
    assert model.match({"y": scores(4)}, 4).unproven == ()


def test_an_undeclared_output_that_matched_by_chance_is_found_out() -> None:
    """Two class names and two rows."""
    model = OutputMatcher("model m")
    assert model.match({"names": NAMES}, 2).unproven == ("names",)
    with pytest.raises(MalformedAnswerError):
        model.match({"names": NAMES}, 1)
    assert model.match({"names": NAMES}, 3).repeated == ("names",)
    matched = model.match({"names": NAMES}, 2)
    assert [list(row) for row in matched.outputs["names"]] == [[b"no", b"yes"]] * 2
    assert matched.unproven == ()


def test_lists_as_json_has_them_are_repeated_too() -> None:
    model = OutputMatcher("model m")
    with pytest.raises(MalformedAnswerError, match="output names has 2 rows for a request of 3"):
        model.match({"names": ["no", "yes"]}, 3)
    assert model.match({"names": ["no", "yes"]}, 1).outputs["names"] == [["no", "yes"]]


def test_detections_of_all_rows_in_one_list_are_never_dealt_out() -> None:
    """Boxes [n, 4] whose number follows neither the rows nor anything else."""
    model = OutputMatcher("model m")
    for rows, boxes in ((2, 5), (3, 7), (4, 6), (1, 3)):
        with pytest.raises(MalformedAnswerError):
            model.match({"boxes": np.zeros((boxes, 4), np.float32)}, rows)
    with pytest.raises(MalformedAnswerError):  # also where it is by chance
        model.match({"boxes": np.zeros((4, 4), np.float32)}, 4)


def test_a_declared_output_that_did_not_fit_once_has_to_be_proven_again() -> None:
    model = matcher(boxes=("float32", (-1, 4)))
    with pytest.raises(MalformedAnswerError, match=r"output boxes, declared float32\[\?,4\], has 5 rows for a request of 2"):
        model.match({"boxes": np.zeros((5, 4), np.float32)}, 2)
    assert model.match({"boxes": np.zeros((4, 4), np.float32)}, 4).unproven == ("boxes",)


def test_one_short_answer_does_not_cost_the_trust_for_ever() -> None:
    model = matcher(y=("float32", (-1,)))
    with pytest.raises(MalformedAnswerError):
        model.match({"y": scores(2)}, 3)
    assert model.match({"y": scores(3)}, 3).unproven == ("y",)
    model.match({"y": scores(1)}, 1)
    assert model.match({"y": scores(3)}, 3).unproven == ()
    assert model.match({"y": scores(5)}, 5).unproven == ()


def test_one_short_answer_of_a_fixed_batch_does_not_cost_the_trust_for_ever() -> None:
    """Found by Hypothesis: no second size could prove it, so nothing was taken any more, and the job held for ever."""
    model = matcher(4, y=("float32", (-1,)), z=("float32", (4,)))
    for short in ({"y": scores(3), "z": scores(4)}, {"y": np.array(1.0), "z": scores(4)}, {"y": scores(4), "z": scores(2)}):
        with pytest.raises(MalformedAnswerError):
            model.match(short, 4)
        full = {"y": scores(4), "z": scores(4)}
        assert len(model.match(full, 4).unproven) == 1, "one that fits may fit by chance"
        assert model.match(full, 4).unproven == ()
        assert model.match(full, 4).unproven == ()


def test_an_answer_that_does_not_fit_between_two_that_do_is_no_proof() -> None:
    model = matcher(4, boxes=("float32", (-1, 4)))
    for _ in range(3):
        with pytest.raises(MalformedAnswerError):
            model.match({"boxes": np.zeros((5, 4), np.float32)}, 4)
        assert model.match({"boxes": np.zeros((4, 4), np.float32)}, 4).unproven == ("boxes",)


def test_a_declaration_that_the_answers_contradict_decides_nothing() -> None:
    """Metadata written by hand says [1]; the answers follow the rows."""
    model = matcher(y=("float32", (1,)))
    assert model.match({"y": scores(4)}, 4).unproven == ("y",)
    assert model.match({"y": scores(3)}, 3).unproven == ()


def test_a_mistake_in_one_output_does_not_hide_what_another_teaches() -> None:
    model = OutputMatcher("model m")
    for rows in (2, 3):
        with pytest.raises(MalformedAnswerError):
            model.match({"boxes": np.zeros((rows + 5, 4)), "y": scores(rows)}, rows)
    assert model.match({"y": scores(4)}, 4).unproven == ()


def test_short_answers_never_make_an_output_the_same_for_all_rows() -> None:
    """Found by Hypothesis: after two short answers, one record would have had another's prediction."""
    for model in (matcher(y=("float32", (-1,))), matcher()):
        with pytest.raises(MalformedAnswerError):
            model.match({"y": scores(1)}, 2)
        assert model.match({"y": scores(1)}, 1).repeated == ()
        for rows in (2, 3, 4):
            with pytest.raises(MalformedAnswerError):
                model.match({"y": scores(1)}, rows)


@pytest.mark.parametrize("shape", [(-1,), None], ids=["declared", "undeclared"])
@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["right", "short", "cut off", "long"])), max_size=12))
def test_a_row_never_gets_another_rows_value(shape: tuple[int] | None, answers: list[tuple[int, str]]) -> None:
    """Whatever the server leaves out or adds, in whatever order: the row's own value, or an error.

    What is added to answers of an undeclared output may look like one value for the whole request: left out here.
    """
    model = matcher() if shape is None else matcher(y=("float32", shape))
    for rows, fault in answers:
        true = scores(rows)
        came = {"right": true, "short": true[:-1], "cut off": true[:2], "long": np.append(true, true[:1])}[fault]
        if fault == "long" and shape is None:
            continue
        try:
            matched = model.match({"y": came}, rows)
        except MalformedAnswerError:
            continue
        assert matched.outputs["y"] is came
        assert len(came) == rows
