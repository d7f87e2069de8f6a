"""``OneRow``: requests to a model whose shapes have no batch dimension, one record each, in the shape as it is declared.

Triton says by ``max_batch_size: 0`` that it adds no batch dimension. Many such models declare one themselves, as the first
dimension of their shapes: free, 1, or a fixed size that inputs and outputs share. If the shapes can't have a batch
dimension, ``has_no_batch_dimension`` finds that out. If they could have one but do not, or the server is another, the
URI must say ``?batch=none``.

To the rest of the project such a model has a fixed batch of one row, which is taken off inputs and put before outputs here.

Source: https://github.com/triton-inference-server/server, docs/user_guide/model_configuration.md (maximum batch size).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from transforms.errors import NotServedError, RejectedError
from transforms.types import ModelMetadata, Signature, TensorSpec


def has_no_batch_dimension(signature: Signature) -> bool:
    """Returns whether no number of rows fits the shapes of a model: it can't have a batch dimension.

    Args:
        signature: The model's, with its shapes as the server declares them.
    """
    inputs, outputs = (
        {spec.shape[0] for spec in specs.values() if spec.shape} for specs in (signature.inputs, signature.outputs)
    )
    fixed = {size for size in inputs if size >= 0}
    if not inputs or fixed == {1}:  # one record a request, and its shape is the rest
        return False
    if len(fixed) > 1:
        return True
    declares_all = bool(signature.outputs) and all(spec.shape is not None for spec in signature.outputs.values())
    return declares_all and not outputs & {-1, *fixed}


def is_unbatched(where: str, said: bool, max_batch_size: int | None, signature: Signature) -> bool:
    """Returns whether a model has no batch dimension.

    Args:
        where: The model and its address, for the error.
        said: Whether the URI says so.
        max_batch_size: What Triton says; ``None`` for other servers, whose shapes are what the model's author has written.
        signature: The model's, with its shapes as the server declares them.

    Raises:
        NotServedError: It can't have one, and neither URI nor server say that it has none: the author may have left it out.
    """
    if said or not has_no_batch_dimension(signature):
        return said
    if max_batch_size is None and all(spec.shape and spec.shape[0] > 0 for spec in signature.inputs.values()):
        sides = (", ".join(f"{n}: {spec}" for n, spec in specs.items()) for specs in (signature.inputs, signature.outputs))
        raise NotServedError(
            f"{where}: takes {' and gives '.join(sides)}: the shapes share no batch dimension. If the model has none, add "
            "?batch=none to the URI in --model: each record is then a request of its own, in this shape. Else let the model "
            "declare it, as -1 before the shape of a record"
        )
    return max_batch_size == 0


class OneRow:
    """Turns a batch of one row into the tensors of a model without a batch dimension, and back.

    Args:
        where: The model and its address, for error messages.
    """

    def __init__(self, where: str):
        self._where = where

    @staticmethod
    def metadata(metadata: ModelMetadata) -> ModelMetadata:
        """Returns the metadata with a batch dimension of 1 before each shape."""
        signature = metadata.signature
        inputs, outputs = _with_batch(signature.inputs), _with_batch(signature.outputs)
        return dataclasses.replace(
            metadata, signature=dataclasses.replace(signature, inputs=inputs, outputs=outputs), max_rows=1
        )

    def of_inputs(self, inputs: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
        """Returns the arrays to send: without their first dimension, which is 1.

        Raises:
            RejectedError: There is more than one row.
        """
        if rows != 1:
            raise RejectedError(f"{self._where}: the model has no batch dimension: a request takes one row, not {rows} rows")
        # Not array[0], which of strings is no array any more.
        return {name: array.reshape(array.shape[1:]) for name, array in inputs.items()}

    def of_outputs(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of an answer with a first dimension of 1."""
        return {name: array[np.newaxis] for name, array in outputs.items()}


def _with_batch(specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    return {name: dataclasses.replace(spec, shape=_with_one(spec.shape)) for name, spec in specs.items()}


def _with_one(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if shape is None else (1, *shape)
