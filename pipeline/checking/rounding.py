"""``rounding``: which whole numbers and times a floating-point input takes, but not as they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

_BITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}
"""How many binary digits each dtype keeps."""


def rounding(dtype: str, values: Iterable[Any]) -> str:
    """Says how far a dtype moves the numbers among ``values`` where it changes their whole part; empty if it does not.

    Prices such as 3.59 are always rounded, far behind the point. A time in seconds as float32 is a minute away, which nobody
    is told otherwise: the record fits.

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
