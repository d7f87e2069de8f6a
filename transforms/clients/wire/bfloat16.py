"""Converts between float32 and bfloat16, which NumPy does not have. A bfloat16 is the upper 16 bits of a float32."""

from __future__ import annotations

import numpy as np


def to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Rounds numbers to bfloat16, half to even.

    Args:
        array: Numbers of any dtype that converts to float32, of any shape.

    Returns:
        The bits of the rounded numbers: uint16, little-endian, in the shape of ``array``.
    """
    values = np.ascontiguousarray(array, "<f4")
    bits = values.view("<u4").astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    nan = (bits >> 16) | 0x40  # a rounded NaN could become infinity
    return np.where(np.isnan(values), nan, rounded).astype("<u2").reshape(array.shape)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Returns bfloat16 numbers as float32. The conversion is exact.

    Args:
        bits: The bits of the numbers, uint16, of any shape.
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)
