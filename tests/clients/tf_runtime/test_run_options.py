"""The limit of a run reaches TensorFlow in the form that TensorFlow reads."""

from __future__ import annotations

import ctypes

import pytest

from transforms.clients.tf_runtime.session import _run_options
from transforms.clients.wire.protobuf import PrivatePool

RunOptions = PrivatePool(
    "run_options", {"tensorflow.RunOptions": "int64 timeout_in_ms = 2"}, {}, {"tensorflow": ()}
).message_class("tensorflow.RunOptions")
"""As in tensorflow/core/protobuf/config.proto."""


@pytest.mark.parametrize(
    ("timeout_s", "timeout_in_ms"),
    [(0.0, 1), (0.0001, 1), (0.127, 127), (0.128, 128), (30.0, 30_000), (16.384, 16_384), (1e12, 2**31 - 1)],
)
def test_a_time_limit_is_a_field_of_protobuf(timeout_s: float, timeout_in_ms: int) -> None:
    """0 would be no limit, and more than 31 bits would be a negative one."""
    buffer = _run_options(timeout_s)._obj
    assert RunOptions.FromString(ctypes.string_at(buffer.data, buffer.length)).timeout_in_ms == timeout_in_ms


def test_no_time_limit_is_no_options() -> None:
    assert _run_options(None) is None
