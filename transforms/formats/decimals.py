"""Decimals as Avro and Confluent's Protobuf type store them, an integer's bytes and a scale, to the numbers of tensors."""

from __future__ import annotations

import functools

MAX_DECIMAL_BYTES = 512
"""The most bytes of a decimal: 1,233 digits, where float64 ends at 308. Arithmetic takes more than linear time."""

MAX_SCALE = 1000


class DecimalError(ValueError):
    """A decimal can't be read as a number."""


def decimal_number(data: bytes, scale: int) -> int | float:
    """Returns the number ``data`` (big-endian, two's complement) divided by ten to the ``scale``.

    An exact integer if the scale is 0, otherwise the nearest float64.

    Raises:
        DecimalError: It has too many bytes, its scale is out of range, or it is beyond float64.
    """
    if len(data) > MAX_DECIMAL_BYTES:
        raise DecimalError(f"a decimal has {len(data)} bytes; {MAX_DECIMAL_BYTES} are allowed")
    if not 0 <= scale <= MAX_SCALE:
        raise DecimalError(f"a decimal's scale is not from 0 to {MAX_SCALE}")
    number = int.from_bytes(data, "big", signed=True)
    try:
        return number / _power(scale) if scale else number  # of integers the nearest float64, as Python divides
    except OverflowError:
        raise DecimalError("a decimal is beyond float64") from None


@functools.lru_cache(maxsize=64)
def _power(scale: int) -> int:
    return int(10**scale)
