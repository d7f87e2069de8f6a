"""``Ranking``: turns scores into the best labels: ``{"label": …, "score": …, "top": [{"label": …, "score": …}, …]}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from transforms.errors import ConfigError, ContractError
from transforms.formats.json_columns import Texts, column_texts, number_texts
from transforms.text_files import NotTextError, read_text
from transforms.types import METHOD_CLASSIFY, Signature, TensorSpec

DEFAULT_TOP_K = 5

RANKED = ("label", "score", "top")
"""The fields of a ranked prediction."""

_PREFERRED = ("scores", "probabilities")
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def parse_labels(path: str | Path) -> list[str]:
    """Reads class names from a file: one per line, or a JSON list of strings. Label ``i`` is the class with index ``i``.

    Blanks around a line and a final newline are ignored. An empty line is an error, because it would shift the labels.

    Args:
        path: The file.

    Raises:
        ConfigError: The file can't be read, or has another content; the message names the line.
    """
    flag = f"--labels={path}"
    try:
        text = read_text(path)
    except OSError as error:
        raise ConfigError([f"{flag}: can't be read: {error.strerror}"]) from error
    except NotTextError as error:
        raise ConfigError([f"{flag}: {error}"]) from error
    except ValueError as error:  # a path with a null byte
        raise ConfigError([f"{flag}: can't be read: {error}"]) from error
    if text.lstrip()[:1] in ("[", "{"):
        try:
            labels = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ConfigError([f"{flag}: starts like JSON but is none: {error.msg} at line {error.lineno}"]) from error
        if type(labels) is not list or not all(type(label) is str for label in labels):
            raise ConfigError([f'{flag}: JSON must be a list of strings, such as ["cat", "dog"]'])
    else:
        labels = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    if not labels:
        raise ConfigError([f"{flag}: has no labels; put one class name on each line"])
    if empty := [str(number) for number, label in enumerate(labels, 1) if not label]:
        which = f"label {empty[0]} is" if len(empty) == 1 else f"labels {', '.join(empty[:20])} are"
        raise ConfigError([f"{flag}: {which} empty; every class needs a name, in the order of the scores"])
    return list(labels)


class Ranking:
    """Ranks the scores of each row.

    With ``labels``, the scores are the float output with one value per label. If several outputs fit, it is the one named
    ``scores`` or ``probabilities``, otherwise the first by name. Without ``labels`` (``--top_k`` alone), the labels are the
    ``classes`` of the answer if it has them (Classify), otherwise the class indexes as text: ``"0"``, ``"1"``, …
    """

    def __init__(self, labels: Sequence[str] | None, top_k: int | None = None, signature: Signature | None = None):
        """Checks that an output of the model can be ranked.

        Args:
            labels: The class names, by index.
            top_k: The number of classes to list; 5 if ``None``.
            signature: The signature of the model, if it is known.

        Raises:
            ContractError: The signature has no output that can be ranked; the message names the flag and the cure.
        """
        flag = "--labels" if labels is not None else "--top_k"
        if top_k is not None and top_k < 1:
            raise ContractError(f"--top_k={top_k}: must be 1 or more")
        if labels is not None and not labels:
            raise ContractError("--labels: has no labels")
        self._labels = None if labels is None else list(labels)
        self._top_k = top_k or DEFAULT_TOP_K
        self._prefixes = [] if labels is None else [_prefix(label) for label in labels]
        self._specs: Mapping[str, TensorSpec] = {}
        self._is_classify = signature is not None and signature.method == METHOD_CLASSIFY
        if signature is not None and signature.known and signature.outputs and not self._is_classify:
            self._specs = signature.outputs
            if not any(map(self._may_rank, signature.outputs.values())):
                outputs = ", ".join(f"{name}: {spec}" for name, spec in signature.outputs.items())
                needed = f"{len(self._labels)} scores a row, as many as labels" if self._labels else "scores"
                raise ContractError(
                    f"{flag}: signature '{signature.name}' has no float output of {needed}; it gives {outputs}; "
                    f"correct the labels, leave {flag} out, or choose another signature with ?signature=NAME in --model"
                )

    def texts(self, outputs: Mapping[str, Sequence[Any] | np.ndarray], rows: int) -> Texts:
        """Ranks the scores of an answer. Equal scores are ordered by class index.

        Args:
            outputs: Output name to one value per row.
            rows: The number of rows.

        Returns:
            One JSON object per row; and row to reason for the rows that can't be ranked: no scores, a wrong number of
            scores, or NaN among them.
        """
        name = self._scores_name(outputs)
        if name is None:
            given = ", ".join(sorted(outputs)) or "none"
            return [b""] * rows, dict.fromkeys(range(rows), f"no output can be ranked: none has scores; outputs: {given}")
        column = outputs[name]
        if isinstance(column, np.ndarray) and column.ndim == 2 and column.dtype.kind in "fV":
            return self._ranked(name, column, range(rows), rows, outputs)
        # The rows have scores of different lengths: rank the rows of each length together.
        texts, errors = [b""] * rows, {}
        lengths: dict[int, tuple[list[int], list[list[float]]]] = {}
        for row, value in enumerate(column):
            scores = _floats(value)
            if scores is None:
                errors[row] = f"output '{name}' is no list of scores"
            else:
                members, lists = lengths.setdefault(len(scores), ([], []))
                members.append(row)
                lists.append(scores)
        for length, (members, lists) in lengths.items():
            with np.errstate(over="ignore"):
                array = np.array(lists, self._list_dtype(name)).reshape(len(members), length)
            part, part_errors = self._ranked(name, array, members, rows, outputs)
            for row in members:
                texts[row] = part[row]
            errors.update(part_errors)
        return texts, errors

    def _list_dtype(self, name: str) -> type[np.floating[Any]]:
        is_float32 = self._is_classify or (name in self._specs and self._specs[name].dtype == "float32")
        return np.float32 if is_float32 else np.float64

    def _may_rank(self, spec: TensorSpec) -> bool:
        if spec.dtype not in _FLOATS:
            return False
        if spec.shape is None:
            return True
        last = spec.shape[-1] if len(spec.shape) == 2 else 0
        return last < 0 or (last > 0 and (self._labels is None or last == len(self._labels)))

    def _scores_name(self, outputs: Mapping[str, Sequence[Any] | np.ndarray]) -> str | None:
        """Returns the output to rank: one that fits the labels, with a preferred name, or the first by name."""
        found = []
        for name in sorted(outputs):
            column = outputs[name]
            if name in self._specs and not self._may_rank(self._specs[name]):
                continue
            if isinstance(column, np.ndarray):
                length = column.shape[1] if column.ndim == 2 and column.dtype.kind in "fV" else 0
            else:
                length = next((len(scores) for scores in map(_floats, column) if scores), 0)
            if not length:
                continue
            fits = self._labels is None or length == len(self._labels)
            preference = _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED)
            found.append((not fits, preference, name))
        return min(found)[2] if found else None

    def _ranked(
        self,
        name: str,
        scores: np.ndarray,
        members: Sequence[int],
        rows: int,
        outputs: Mapping[str, Sequence[Any] | np.ndarray],
    ) -> Texts:
        """Ranks ``scores`` of shape ``[len(members), classes]``: the scores of the answer's rows ``members``."""
        texts, errors = [b""] * rows, {}
        if scores.dtype.kind == "V":
            scores = scores.astype(np.float32)
        length = scores.shape[1]
        if length == 0 or (self._labels is not None and length != len(self._labels)):
            expected = "one or more" if self._labels is None else f"{len(self._labels)}, one a label"
            return texts, dict.fromkeys(members, f"output '{name}' has {length} scores; expected {expected}")
        unranked = np.isnan(scores).any(axis=1)
        if unranked.any():
            for i in np.flatnonzero(unranked).tolist():
                errors[members[i]] = f"output '{name}' has NaN among its scores, so they have no order"
            members = [row for row, bad in zip(members, unranked.tolist(), strict=True) if not bad]
            scores = scores[~unranked]
            if not members:
                return texts, errors
        k = min(self._top_k, length)
        best = top_indexes(scores, k)
        numbers = number_texts(np.take_along_axis(scores, best, axis=1).ravel())
        prefixes = self._prefixes or [_prefix(str(i)) for i in range(length)]
        classes = outputs.get("classes") if self._labels is None else None
        for i, (row, indexes) in enumerate(zip(members, best.tolist(), strict=True)):
            if classes is not None:
                prefixes = _class_prefixes(classes[row], length) or [_prefix(str(i)) for i in range(length)]
            entries = [prefixes[c] + number for c, number in zip(indexes, numbers[i * k : i * k + k], strict=True)]
            texts[row] = b'%b,"top":[%b}]}' % (entries[0], b"},".join(entries))
        return texts, errors


def top_indexes(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns the indexes of the ``k`` highest scores of each row, the highest first; equal scores by index.

    Args:
        scores: Shape ``[rows, classes]``, without NaN.
        k: At least 1, at most ``classes``.

    Returns:
        Shape ``[rows, k]``.
    """
    rows, classes = scores.shape
    if classes <= 64:
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    # Many classes: a partition finds the k-th score; only rows with ties at it need a full sort.
    threshold = np.partition(scores, classes - k, axis=1)[:, classes - k, np.newaxis]
    among = scores >= threshold
    tied = np.count_nonzero(among, axis=1) != k
    best = np.empty((rows, k), np.intp)
    if tied.any():
        best[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :k]
    clear = ~tied
    if clear.any():
        indexes = np.nonzero(among[clear])[1].reshape(-1, k)
        order = np.argsort(-np.take_along_axis(scores[clear], indexes, axis=1), axis=1, kind="stable")
        best[clear] = np.take_along_axis(indexes, order, axis=1)
    return best


def _floats(value: Any) -> list[float] | None:
    """Returns one row's scores as floats; ``None`` if they are not a list of numbers."""
    values = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(values, list | tuple) or not set(map(type, values)) <= {float, int}:
        return None
    try:
        return list(map(float, values))
    except OverflowError:
        return None


def _prefix(label: str) -> bytes:
    return b'{"label":%b,"score":' % orjson.dumps(label)


def _class_prefixes(names: Any, length: int) -> list[bytes] | None:
    """Returns the JSON up to the score, for each of a row's own ``classes``; ``None`` if they do not match the scores."""
    if isinstance(names, np.ndarray):
        names = names.tolist()
    if not isinstance(names, list | tuple) or len(names) != length or not all(isinstance(n, str | bytes) for n in names):
        return None
    return [b'{"label":%b,"score":' % text for text in column_texts("classes", names)[0]]
