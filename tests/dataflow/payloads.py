"""What is inside the functions of a staged pipeline, uncompressed: a text that is searched for would hide in them.

Python's are pickled, bzip2 and base64 (``apache_beam/internal/cloudpickle_pickler.py``); Java's are serialized objects in
Snappy's stream format (``SerializableUtils``): a header of 16 bytes, then blocks, each behind its length.
"""

from __future__ import annotations

import base64
import bz2
from collections.abc import Iterator

import pyarrow
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as proto

SNAPPY = b"\x82SNAPPY\x00"
PICKLED = "beam:dofn:pickled_python_info:v1"
JAVA = "beam:dofn:javasdk:0.1"


def functions(pipeline: proto.Pipeline) -> Iterator[tuple[str, bytes]]:
    """Yields the name of each transform that runs code, and its function, uncompressed."""
    for transform in pipeline.components.transforms.values():
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            function = proto.ParDoPayload.FromString(transform.spec.payload).do_fn
            yield transform.unique_name, uncompressed(function.urn, function.payload)


def uncompressed(urn: str, payload: bytes) -> bytes:
    """Returns a function's bytes.

    Raises:
        ValueError: They are in no form that is known here, and so nothing could be found in them.
    """
    if urn == PICKLED:
        return bz2.decompress(base64.b64decode(payload))
    if urn == JAVA:
        start = payload.find(SNAPPY)
        if start >= 0:
            return payload[:start] + b"".join(_blocks(payload[start + 16 :]))
        return payload
    raise ValueError(f"a function of an unknown kind: {urn}")


def _blocks(stream: bytes) -> Iterator[bytes]:
    while stream:
        size = int.from_bytes(stream[:4])
        if size == 0 or size > len(stream) - 4:
            yield stream
            return
        block = stream[4 : 4 + size]
        yield bytes(pyarrow.decompress(block, decompressed_size=_length(block), codec="snappy", asbytes=True))
        stream = stream[4 + size :]


def _length(block: bytes) -> int:
    """The length of the uncompressed data, a varint at the head of a block."""
    length, shift = 0, 0
    for byte in block:
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return length
    raise ValueError("not a Snappy block")
