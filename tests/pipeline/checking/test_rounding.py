"""Whole numbers that a floating-point input moves are told; what is rounded behind the point is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checking.rounding import _rounded, rounding


@pytest.mark.parametrize(
    ("dtype", "values", "said"),
    [
        ("float32", [3.59, 2**24, -(2**24)], ""),
        ("float32", [2**24 + 1], "float32 is exact up to 16,777,216 only, and moves these numbers by up to 1"),
        ("float32", [[1, [2**30 + 32]]], "by up to 32"),
        ("float64", [1790000000000], ""),
        ("float64", [2**53 + 1], "exact up to 9,007,199,254,740,992 only"),
        ("float16", [2049], "exact up to 2,048 only"),
        ("bfloat16", [255], ""),
        ("bfloat16", [257], "exact up to 256 only"),
        ("int64", [2**60 + 1], ""),
        ("string", ["x"], ""),
        ("float32", [None, True, "x", float("inf"), float("nan"), {"b64": "="}], ""),
        ("float64", [10**400], ""),
    ],
)
def test_what_is_said(dtype: str, values: list[Any], said: str) -> None:
    found = rounding(dtype, values)
    assert said in found
    assert bool(found) == bool(said)


@given(st.integers(-(2**62), 2**62))
def test_it_rounds_as_numpy_does(number: int) -> None:
    assert _rounded(number, 53) == int(np.float64(number))
    if abs(number) <= 2**53:
        assert _rounded(number, 24) == int(np.float32(number))
