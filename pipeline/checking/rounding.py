"""``rounding``: finds whole numbers and times that a floating-point input accepts but rounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

_BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
"""How many binary digits each dtype keeps."""


def rounding(dtype: str, values: Iterable[Any]) -> str:
    """Returns a text on how far rounding to a dtype moves the ``values``; empty if it moves none by 1 or more.

    The rounding of prices such as 3.59 is too small to matter. But a Unix time in seconds is up to a minute off as float32,
    and nothing else reports that, because the record fits.

    Args:
        dtype: The input's.
        values: What was found for it: numbers, or lists of them.
    """
    if (bits := _BITS.get(dtype)) is None:
        return ""
    most = max((abs(number - _rounded(number, bits)) for value in values for number in _numbers(value, bits)), default=0)
    if most < 1:
        return ""
    return f"{dtype} is exact up to {2**bits:,} only, and moves these numbers by up to {math.floor(most):,}"


def _numbers(value: Any, bits: int) -> Iterator[int | float]:
    """Yields the finite numbers that are too large to be exact."""
    if type(value) is list:
        for part in value:
            yield from _numbers(part, bits)
    elif type(value) in (int, float) and (type(value) is int or math.isfinite(value)) and abs(value) > 2**bits:
        yield value


def _rounded(number: int | float, bits: int) -> int:
    """Returns the nearest number with so many binary digits; exactly, also beyond float64."""
    whole = round(number)
    spare = max(whole.bit_length() - bits, 0)
    return round(whole / (1 << spare)) << spare if whole.bit_length() < 1000 else whole
