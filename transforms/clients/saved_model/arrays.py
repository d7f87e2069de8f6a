"""Arrays as the clients' callers have them, to arrays as TensorFlow takes them, and back.

The two differ in little: strings may come as ``str``, numbers in another byte order; and bfloat16, which NumPy lacks, is
float32 outside, as it is with a remote server (``tensors.py``).
"""

from __future__ import annotations

import numpy as np

from transforms.types import Signature


def to_tensor(array: np.ndarray, declared: str) -> np.ndarray:
    """Returns an array that can be fed: strings as dtype object, of bytes; numbers in the machine's byte order.

    Args:
        array: Any shape.
        declared: The dtype that the signature declares. Only bfloat16 is converted to; another dtype is for the model to
            refuse.

    Raises:
        TypeError: An element of an array of objects is neither ``bytes`` nor ``str``.
    """
    if array.dtype.kind in "OSU":
        return _strings(array)
    if declared == "bfloat16":
        import ml_dtypes  # it comes with TensorFlow

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
    """Returns what TensorFlow answered; bfloat16 as float32, which holds it exactly."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def zero_rows(signature: Signature) -> dict[str, np.ndarray] | None:
    """Returns the inputs of one row of zeros (empty strings), or of as many rows as the signature's fixed batch has.

    ``None`` where there is nothing to make it from: a size within a row or a rank is not known, or it takes no inputs, and
    then running it is all it does (a counter counts).
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
        except TypeError:  # a dtype that no array has, such as a resource
            return None
    return zeros
