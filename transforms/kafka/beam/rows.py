"""The row types that Java's sink takes. Beam derives their schema from the annotations, which must be types, not text.

So this file has no ``from __future__ import annotations``, and uses ``Optional``, which Beam supports in rows.
"""

import typing

import numpy as np
from apache_beam import coders


class JavaHeader(typing.NamedTuple):
    """A header, as Java's sink requires it."""

    key: str
    value: bytes


class JavaRecord(typing.NamedTuple):
    """A record to write, as Java's sink requires it; the sink determines the field names."""

    key: typing.Optional[bytes]  # noqa: UP045  # a union written with | has no schema
    value: typing.Optional[bytes]  # noqa: UP045
    headers: typing.List[JavaHeader]  # noqa: UP006
    topic: str
    partition: typing.Optional[np.int32]  # noqa: UP045  # Java's int; a Python int would be a long
    timestamp: typing.Optional[int]  # noqa: UP045


for _type in (JavaHeader, JavaRecord):
    coders.registry.register_coder(_type, coders.RowCoder)
