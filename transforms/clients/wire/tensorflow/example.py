"""Parses and builds serialized ``tf.Example`` records, without TensorFlow.

Source: tensorflow/core/example/feature.proto.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from transforms.clients.wire.tensorflow.messages import Example
from transforms.printable import counted

_INT64 = range(-(2**63), 2**63)
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def parse_example(record: bytes) -> dict[str, list[Any]]:
    """Parses a serialized ``tf.Example``.

    Protobuf parses many short byte strings without an error; ``b""`` is an Example without features. A caller that needs
    certain features must check that they are there.

    Args:
        record: The serialized ``tf.Example``.

    Returns:
        Feature name to its values, sorted by name. The values of a feature are all ``bytes``, all ``float`` (of float32
        precision) or all ``int``. A feature without a kind has an empty list.

    Raises:
        ValueError: The bytes are not a serialized ``tf.Example``.
    """
    try:
        example = Example.FromString(record)
    except DecodeError as error:
        raise ValueError(f"not a serialized tf.Example ({counted(len(record), 'byte')})") from error
    features = example.features.feature
    return {name: _values(features[name]) for name in sorted(features)}


def _values(feature: Any) -> list[Any]:
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def build_example(features: Mapping[str, Any]) -> bytes:
    """Serializes a ``tf.Example``.

    Args:
        features: Feature name to a scalar, a flat list or a 1-D array. The values of a feature are ``bytes`` or ``str``
            (written as UTF-8), ``int`` or ``bool``, or numbers with at least one ``float``. An empty list makes a feature
            without a kind.

    Raises:
        ValueError: A value can't be written to a ``tf.Example``; the message names the feature.
    """
    example = Example()
    for name, value in features.items():
        values = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        values = list(values) if isinstance(values, list | tuple) else [values]
        feature = example.features.feature[name]  # reading an entry of the map makes it
        if all(isinstance(v, bytes | str) for v in values) and values:
            feature.bytes_list.value.extend(v.encode() if isinstance(v, str) else v for v in values)
        elif all(isinstance(v, numbers.Integral) for v in values) and values:
            if not all(int(v) in _INT64 for v in values):
                raise ValueError(f"feature {name}: an int is outside int64")
            feature.int64_list.value.extend(int(v) for v in values)
        elif all(isinstance(v, numbers.Real) for v in values) and values:
            if any(math.isfinite(v) and abs(v) > _FLOAT32_MAX for v in values):
                raise ValueError(f"feature {name}: a number is outside float32")
            feature.float_list.value.extend(float(v) for v in values)
        elif values:
            kinds = ", ".join(sorted({type(v).__name__ for v in values}))
            raise ValueError(f"feature {name}: has {kinds}; a feature is all bytes or str, all int, or all float")
    return bytes(example.SerializeToString(deterministic=True))
