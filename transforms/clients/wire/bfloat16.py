"""bfloat16, which NumPy lacks: the upper 16 bits of a float32."""

from __future__ import annotations

import numpy as np


def to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Returns the bits (uint16, little-endian) of numbers rounded to bfloat16, to nearest even."""
    values = np.ascontiguousarray(array, "<f4")
    bits = values.view("<u4").astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    nan = (bits >> 16) | 0x40  # rounding could carry a NaN's payload over into infinity
    return np.where(np.isnan(values), nan, rounded).astype("<u2").reshape(array.shape)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Returns the numbers of bfloat16 bits as float32, which holds them exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
