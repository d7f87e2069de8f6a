"""Matches the outputs of an answer to the rows of its request; a protocol's client calls it for every answer.

Which rows an output belongs to is never guessed:

| declared shape of the output | what the output is |
|---|---|
| first dimension free (``[-1, …]``), or the fixed batch size of the model | one value a row |
| scalar, or another fixed first dimension (``[2]``) | one value for the whole request; repeated for each row |
| none (no signature, an undeclared output, unknown rank), or one that the answer contradicts | see below |

Where the declaration does not say, the number of rows must follow the request's at two different request sizes. Until then
the output is *unproven*: the client says so in ``Answer.unproven_outputs``, and the caller asks again at other sizes. A
model with a fixed batch size has no second one: a declaration that an answer contradicted counts again when two answers in
a row fit it. An undeclared output is one value for the whole request only if answers prove it (``_is_one_for_all``). An
answer of one row to a request of one row is that row's.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transforms.clients.selection import OutputSelection
from transforms.errors import MalformedAnswerError, NotServedError
from transforms.printable import counted
from transforms.types import Answer, Header, Signature, TensorSpec

Outputs = dict[str, Sequence[Any] | np.ndarray]

FIT_AGAIN = 2
"""How many answers in a row must fit a declaration that one contradicted, if the batch size of the model is fixed."""


class Matched(NamedTuple):
    """The outputs of one answer, matched to the rows of its request.

    Attributes:
        outputs: Output name to one value per row.
        unproven: Names of outputs that have as many rows as the request, perhaps by chance.
        repeated: Names of outputs that have one value for the whole request, which stands in every row now.
    """

    outputs: Outputs
    unproven: tuple[str, ...]
    repeated: tuple[str, ...]

    def answer(self, version: str, headers: tuple[Header, ...] = ()) -> Answer:
        """Returns the answer with these outputs.

        Args:
            version: The version that served it; empty if it is not known.
            headers: Headers for the predictions, beside the usual ones.
        """
        return Answer(self.outputs, version, headers, self.unproven, self.repeated)


class OutputMatcher:
    """Matches the outputs of one model, and learns from its answers. Belongs to one client.

    Args:
        where: The model and its address, for error messages.
        names: Names of the outputs that are wanted; none: all. The others are not looked at.
    """

    def __init__(self, where: str, names: Sequence[str] = ()):
        self._where, self._selection = where, OutputSelection(names)
        self._signature: Signature | None = None
        self._row_counts: dict[str, dict[int, int | None]] = {}  # undeclared output → rows of a request → rows of the output
        self._contradicted: dict[str, int] = {}  # declared, but an answer had another number of rows → how many fitted since

    @property
    def signature(self) -> Signature | None:
        """The signature, if it is known."""
        return self._signature

    @signature.setter
    def signature(self, signature: Signature | None) -> None:
        self._signature = signature
        if signature is not None:
            self._selection.of(signature)

    def match(
        self,
        outputs: Mapping[str, Sequence[Any] | np.ndarray],
        rows: int,
        *,
        scalar_inputs: bool = False,
        check_dtypes: bool = True,
    ) -> Matched:
        """Returns the outputs with one row for each row of the request.

        A signature without a batch dimension (scalar inputs, or none at all) answers for the one row: each output is wrapped
        in a row.

        Args:
            outputs: Output name to its values.
            rows: How many rows were sent.
            scalar_inputs: Whether no input has a dimension.
            check_dtypes: Whether the outputs must be of the declared dtypes, at least in kind.

        Raises:
            MalformedAnswerError: They can't be matched to the rows of the request, or are of another kind of dtype.
            NotServedError: The model does not give the outputs that are wanted.
        """
        if not outputs:
            raise MalformedAnswerError(f"{self._where}: the answer has no outputs")
        try:
            outputs = self._selection.take(outputs)
        except (MalformedAnswerError, NotServedError) as error:
            raise type(error)(f"{self._where}: {error}") from error
        declared = self.signature.outputs if self.signature is not None else {}
        matched: Outputs = {}
        unproven: list[str] = []
        repeated: list[str] = []
        mistakes: list[str] = []
        for name, values in outputs.items():  # all of them, also behind a mistake: each teaches something
            spec = declared.get(name)
            if check_dtypes and spec is not None and isinstance(values, np.ndarray):
                _check_kind(name, values.dtype, spec.dtype, self._where)
            count = _row_count(values)
            if rows == 1 and isinstance(values, np.ndarray) and (scalar_inputs or count is None):
                matched[name] = values[np.newaxis]
                continue
            kind = self._kind(name, spec, count, rows)
            if kind is _Kind.MISTAKE:
                mistakes.append(_mistake(name, spec, count, rows))
                continue
            matched[name] = _repeated(values, rows) if kind is _Kind.ONE_FOR_ALL else values
            if kind is _Kind.ONE_FOR_ALL:
                repeated.append(name)
            elif kind is _Kind.UNPROVEN:
                unproven.append(name)
        if mistakes:
            raise MalformedAnswerError(f"{self._where}: {mistakes[0]}")
        return Matched(matched, tuple(unproven), tuple(repeated))

    def _kind(self, name: str, spec: TensorSpec | None, count: int | None, rows: int) -> _Kind:
        """What an output of ``count`` rows is, for a request of ``rows``: by its declaration, or by all answers so far."""
        shape = spec.shape if spec is not None else None
        has_no_batch = shape is not None and self.signature is not None and _has_no_batch(self.signature, shape)
        if has_no_batch and count == (shape[0] if shape else None):
            return _Kind.ONE_FOR_ALL
        declared_per_row = shape is not None and not has_no_batch
        if declared_per_row and name not in self._contradicted:
            if count == rows:
                return _Kind.PER_ROW
            self._contradicted[name] = 0
            return _Kind.MISTAKE
        if declared_per_row and rows > 1 and self.signature is not None and self.signature.rows_per_request is not None:
            return self._fits_again(name, count == rows)
        counts = self._row_counts.setdefault(name, {})
        counts[rows] = count
        follows_rows = all(sent == came for sent, came in counts.items())
        if follows_rows and len(counts) > 1:
            if declared_per_row:  # the answer that did not fit was a fault of the server
                del self._contradicted[name]
                del self._row_counts[name]
            return _Kind.PER_ROW
        if not declared_per_row and _is_one_for_all(counts):
            return _Kind.ONE_FOR_ALL
        if rows == count == 1 and not has_no_batch:
            return _Kind.PER_ROW
        if rows == count and rows > 1 and follows_rows:
            return _Kind.UNPROVEN
        if not follows_rows and len(set(counts.values())) > 1:
            self._row_counts[name] = {rows: count}  # answers contradict each other: what was learnt is worth nothing
        return _Kind.MISTAKE

    def _fits_again(self, name: str, fits: bool) -> _Kind:
        """What a declared output is that an answer contradicted, where all requests have the same size."""
        self._contradicted[name] = self._contradicted[name] + 1 if fits else 0
        if self._contradicted[name] < FIT_AGAIN:
            return _Kind.UNPROVEN if fits else _Kind.MISTAKE
        del self._contradicted[name]
        return _Kind.PER_ROW


def _has_no_batch(signature: Signature, shape: tuple[int, ...]) -> bool:
    return not shape or (shape[0] >= 0 and shape[0] != signature.rows_per_request)


def is_per_row(signature: Signature, name: str) -> bool | None:
    """Returns what a signature declares of an output.

    Returns:
        True for one value a row, False for one value for the whole request; ``None`` if the shape is not declared, so that
        only answers of different sizes can show it.
    """
    if signature.takes_examples or signature.has_scalar:
        return True
    shape = signature.outputs[name].shape
    return None if shape is None else not _has_no_batch(signature, shape)


class _Kind(enum.Enum):
    PER_ROW = enum.auto()
    UNPROVEN = enum.auto()
    ONE_FOR_ALL = enum.auto()
    MISTAKE = enum.auto()


def _is_one_for_all(counts: Mapping[int, int | None]) -> bool:
    """Whether answers prove an undeclared output to be one value for the whole request.

    It has the same number of rows at two sizes at least that have another number, and more rows than one of the requests:
    a server that cuts answers off never has that.
    """
    [count, *others] = set(counts.values())
    misfits = [rows for rows in counts if rows != count]
    if others or len(misfits) < 2:
        return False
    return count is None or min(misfits) < count


def _mistake(name: str, spec: TensorSpec | None, count: int | None, rows: int) -> str:
    if count is None:
        return f"output {name} is a scalar, without a batch dimension, for {counted(rows, 'row')}"
    shape = f", declared {spec}," if spec is not None else ""
    return f"output {name}{shape} has {counted(count, 'row')} for a request of {rows}"


def _row_count(values: Sequence[Any] | np.ndarray) -> int | None:
    """The first dimension; ``None`` for a scalar."""
    return None if isinstance(values, np.ndarray) and values.ndim == 0 else len(values)


def _repeated(values: Sequence[Any] | np.ndarray, rows: int) -> Sequence[Any] | np.ndarray:
    if isinstance(values, np.ndarray):
        return np.broadcast_to(values, (rows, *values.shape))
    return [values] * rows


def _check_kind(name: str, dtype: np.dtype[Any], declared: str, where: str) -> None:
    """A float for a float of another width is no mistake to stop for; a float for an int, or text for a number, is."""
    expected = np.dtype(object) if declared == "string" else _NUMPY.get(declared)
    if expected is None or dtype == expected:
        return
    if dtype.kind == "O" or expected.kind == "O" or not np.can_cast(dtype, expected, "same_kind"):
        came = "string" if dtype.kind == "O" else str(dtype)
        raise MalformedAnswerError(f"{where}: output {name} came as {came}, but the signature declares {declared}")


_NUMPY = {
    name: np.dtype("float32" if name == "bfloat16" else name)
    for name in (
        *("float16", "float32", "float64", "bfloat16", "bool", "complex64", "complex128"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
}


def check_results(outputs: Mapping[str, Sequence[Any] | np.ndarray], rows: int, where: str) -> Outputs:
    """Returns outputs whose protocol has one entry a row (Classify, Regress), if there are as many as rows.

    Raises:
        MalformedAnswerError: There are more or fewer, or no outputs at all.
    """
    if not outputs:
        raise MalformedAnswerError(f"{where}: the answer has no outputs")
    for name, values in outputs.items():
        if len(values) != rows:
            raise MalformedAnswerError(f"{where}: output {name} has {counted(len(values), 'row')} for a request of {rows}")
    return dict(outputs)


def classification_outputs(rows: Sequence[Sequence[tuple[str, float]]]) -> Outputs:
    """Returns a classification's ``classes`` and ``scores``: a list for each row, of as many as the model gave it."""
    return {
        "classes": [[label for label, _ in row] for row in rows],
        "scores": [[score for _, score in row] for row in rows],
    }
