"""Reads the signatures from a serialized ``tensorflow.MetaGraphDef``.

A meta graph contains the whole graph. Only its signatures are needed, so the message is described without the other fields
and protobuf does not parse them. Source: tensorflow/core/protobuf/meta_graph.proto.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from transforms.clients.wire.tensorflow.messages import SignatureDefMap

_FIELD = descriptor_pb2.FieldDescriptorProto


def _declare() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="transforms/meta_graph.proto", package="transforms", syntax="proto3")
    # Entries of a map<string, SignatureDef>, left serialized: they are the same on the wire, and only renumbered here.
    for name, number in (("MetaGraphDef", 5), ("SignatureEntries", 1)):
        declared = file.message_type.add(name=name)
        declared.field.add(name="signature_def", number=number, label=_FIELD.LABEL_REPEATED, type=_FIELD.TYPE_BYTES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_pool = _declare()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"transforms.{name}"))


_MetaGraphDef = _message("MetaGraphDef")
_SignatureEntries = _message("SignatureEntries")


def signature_map_of(meta_graph_def: bytes) -> Any:
    """Returns the signatures of a serialized ``tensorflow.MetaGraphDef`` as a ``SignatureDefMap``."""
    entries = _MetaGraphDef.FromString(meta_graph_def).signature_def
    return SignatureDefMap.FromString(_SignatureEntries(signature_def=entries).SerializeToString())


def signatures_of(meta_graph_def: bytes) -> dict[str, Any]:
    """Returns the signatures of a serialized ``tensorflow.MetaGraphDef``: name to ``tensorflow.SignatureDef``."""
    signatures = signature_map_of(meta_graph_def).signature_def
    return {name: signatures[name] for name in sorted(signatures)}


def meta_graph_of(signature_map: Any) -> bytes:
    """Returns a serialized ``tensorflow.MetaGraphDef`` that has only signatures, for stubs of a loaded model."""
    entries = _SignatureEntries.FromString(signature_map.SerializeToString()).signature_def
    serialized: bytes = _MetaGraphDef(signature_def=entries).SerializeToString()
    return serialized
