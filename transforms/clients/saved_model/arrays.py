"""Converts the arrays of a client's caller to those that TensorFlow takes, and back.

The caller may pass strings as ``str``, and numbers in another byte order. For the caller bfloat16, which NumPy lacks, is
float32, as with a remote server.
"""

from __future__ import annotations

import numpy as np

from transforms.types import Signature


def to_tensor(array: np.ndarray, declared: str) -> np.ndarray:
    """Returns an array that TensorFlow can be fed with.

    Args:
        array: An array of any shape.
        declared: The dtype that the signature declares. Only bfloat16 is converted to; the model refuses any other wrong
            dtype.

    Returns:
        An array of the same shape: strings with dtype object, of bytes; numbers in the machine's byte order.

    Raises:
        TypeError: An element of an array of objects is neither ``bytes`` nor ``str``.
    """
    if array.dtype.kind in "OSU":
        return _strings(array)
    if declared == "bfloat16":
        import ml_dtypes  # TensorFlow installs it

        return array.astype(ml_dtypes.bfloat16)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _strings(array: np.ndarray) -> np.ndarray:
    values = array.ravel().tolist()
    if array.dtype.kind == "O" and all(type(value) is bytes for value in values):
        return array
    encoded = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        if not isinstance(value, bytes | str):
            raise TypeError(f"an element of a string input is a {type(value).__name__}, neither bytes nor str")
        encoded[i] = value.encode() if isinstance(value, str) else value
    return encoded.reshape(array.shape)


def from_tensor(array: np.ndarray) -> np.ndarray:
    """Returns an array that TensorFlow answered; bfloat16 becomes float32, which holds it exactly."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def zero_rows(signature: Signature) -> dict[str, np.ndarray] | None:
    """Returns inputs of zeros and empty strings: one row, or as many rows as the signature's fixed batch size.

    Returns:
        Input name to array. ``None`` if the shape of a row or the dtype of an input is not known; and for a signature
        without inputs, because a run of it is never without effect: a counter would count.
    """
    if signature.takes_examples:
        return {"inputs": np.array([b""], dtype=object)}
    if not signature.inputs:
        return None
    rows = signature.rows_per_request or 1
    zeros = {}
    for name, spec in signature.inputs.items():
        if spec.shape is None or min(spec.shape[1:], default=0) < 0:
            return None
        shape = (rows, *spec.shape[1:]) if spec.shape else ()
        if spec.dtype == "string":
            zeros[name] = np.full(shape, b"", dtype=object)
            continue
        try:
            zeros[name] = np.zeros(shape, np.float32 if spec.dtype == "bfloat16" else np.dtype(spec.dtype))
        except TypeError:  # NumPy has no such dtype: a resource, for example
            return None
    return zeros
