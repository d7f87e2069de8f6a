"""Labels: which scores they rank and name, and the files that they are read from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.encode.test_encoder import TEN, Outputs, encoder, values
from transforms.encode.labels import parse_labels
from transforms.errors import ConfigError
from transforms.types import (
    METHOD_CLASSIFY,
    Signature,
)


def test_labels_rank_the_scores() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.5]], np.float32)
    outputs = {"label": np.array([1, 0]), "scores": scores}
    written = values(encoder(labels=["a", 'b"', "c"], top_k=2), outputs)
    assert written == [
        b'{"label":"b\\"","score":0.7,"top":[{"label":"b\\"","score":0.7},{"label":"c","score":0.2}]}',
        b'{"label":"a","score":0.5,"top":[{"label":"a","score":0.5},{"label":"c","score":0.5}]}',
    ]


@pytest.mark.parametrize(("top_k", "listed"), [(None, 5), (1, 1), (3, 3), (10, 10), (99, 10)])
def test_top_k_is_five_unless_told_and_never_more_than_there_are(top_k: int | None, listed: int) -> None:
    (written,) = values(encoder(labels=TEN, top_k=top_k), {"scores": np.arange(10.0)[np.newaxis]})
    assert isinstance(written, bytes)
    document = json.loads(written)
    assert [entry["label"] for entry in document["top"]] == TEN[::-1][:listed]
    assert (document["label"], document["score"]) == ("c9", 9.0)


def test_top_k_alone_labels_by_index_or_by_the_answers_classes() -> None:
    ranked = encoder(top_k=1)
    assert values(ranked, {"p": np.array([[0.25, 0.75]])}) == [
        b'{"label":"1","score":0.75,"top":[{"label":"1","score":0.75}]}'
    ]
    classify = Signature("c", METHOD_CLASSIFY, {}, {})
    wide = float(np.float32(0.7))
    outputs: Outputs = {"classes": [["x", b"y"], ["z"], []], "scores": [[0.25, wide], [1.0], []]}
    written = values(encoder(top_k=1, signature=classify), outputs)
    assert written[0] == b'{"label":"y","score":0.7,"top":[{"label":"y","score":0.7}]}'
    assert written[1] == b'{"label":"z","score":1.0,"top":[{"label":"z","score":1.0}]}'
    assert written[2] == ("LabelError", "output 'scores' has 0 scores; expected one or more")


def test_labels_name_the_scores_of_a_classification() -> None:
    outputs: Outputs = {"classes": [["0", "1"], ["0"]], "scores": [[0.25, 0.5], [1.0]]}
    written = values(encoder(labels=["cat", "dog"], top_k=1), outputs)
    assert written[0] == b'{"label":"dog","score":0.5,"top":[{"label":"dog","score":0.5}]}'
    assert written[1] == ("LabelError", "output 'scores' has 1 scores; expected 2, one a label")


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ({"a": np.eye(2), "scores": np.eye(2)[::-1]}, "1"),
        ({"a": np.eye(2), "probabilities": np.eye(2)[::-1]}, "1"),
        ({"b": np.eye(2), "a": np.eye(2)[::-1]}, "1"),
        ({"scores": np.eye(2, 3), "a": np.eye(2)[::-1]}, "1"),
        ({"a": np.eye(2, dtype=int), "scores": np.eye(2)[::-1]}, "1"),
        ({"a": np.zeros(2), "b": np.eye(2)[::-1]}, "1"),
    ],
)
def test_the_scores_are_chosen_by_length_then_name_then_order(outputs: Outputs, chosen: str) -> None:
    first = values(encoder(labels=["0", "1"]), outputs)[0]
    assert isinstance(first, bytes)
    assert json.loads(first)["label"] == chosen


def test_scores_that_can_not_be_ranked_fail_their_row_only() -> None:
    scores = np.array([[0.5, 0.25], [np.nan, 0.5], [np.inf, -np.inf]])
    written = values(encoder(labels=["a", "b"]), {"scores": scores})
    assert written[0] == b'{"label":"a","score":0.5,"top":[{"label":"a","score":0.5},{"label":"b","score":0.25}]}'
    assert written[1] == ("LabelError", "output 'scores' has NaN among its scores, so they have no order")
    assert isinstance(written[2], bytes)
    assert json.loads(written[2])["score"] == "Infinity"
    lists = values(encoder(labels=["a", "b"]), {"scores": [[0.5, 1], "no", [10**400, 1], [True, 1], [1, 2, 3]]})
    assert [type(v) for v in lists] == [bytes, tuple, tuple, tuple, tuple]
    assert values(encoder(labels=["a", "b"]), {"scores": np.zeros((1, 3))}) == [
        ("LabelError", "output 'scores' has 3 scores; expected 2, one a label")
    ]
    assert values(encoder(labels=["a", "b"]), {"n": np.array([1])}) == [
        ("LabelError", "no output can be ranked: none has scores; outputs: n")
    ]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cat\ndog\n", ["cat", "dog"]),
        ("cat\r\n big dog \r\n\r\n", ["cat", "big dog"]),
        ("\ufeffcat", ["cat"]),
        ('["cat", "dog"]\n', ["cat", "dog"]),
        ("same\nsame", ["same", "same"]),
        ("a\u2028b\nc", ["a\u2028b", "c"]),
    ],
)
def test_labels_come_one_a_line_or_as_a_json_list(tmp_path: Path, text: str, labels: list[str]) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8", newline="")
    assert parse_labels(path) == parse_labels(str(path)) == labels


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no labels"),
        (b" \n\n", "has no labels"),
        (b"[]", "has no labels"),
        (b"cat\n\ndog", "label 2 is empty"),
        (b'["cat", ""]', "label 2 is empty"),
        (b'["cat", 1]', "list of strings"),
        (b'{"0": "cat"}', "list of strings"),
        (b'["cat"', "starts like JSON"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_wrong_label_files_say_what_is_wrong(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=message) as error:
        parse_labels(path)
    assert f"--labels={path}" in str(error.value)


def test_a_label_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        parse_labels(tmp_path / "none.txt")
