"""Protobuf files that every registry knows: it has no references to them, since nobody registers them.

Protobuf ships ``google/protobuf/*.proto`` itself, ``google/type/*.proto`` are in googleapis-common-protos, and Confluent's
``confluent/meta.proto`` and ``confluent/type/*.proto`` in confluent-kafka. Source: the built-in imports of Confluent's
``ProtobufSchema`` (Java).
"""

from __future__ import annotations

import importlib
import re

from google.protobuf import descriptor_pb2

_PACKAGES = {
    "google/protobuf/": "google.protobuf.",
    "google/type/": "google.type.",
    "confluent/": "confluent_kafka.schema_registry.confluent.",
}
_PATH = re.compile(r"(?:[a-z_]+/)*[a-z_]+")  # a file of the folder: never a module of whatever name a stranger chose


def built_in(name: str) -> descriptor_pb2.FileDescriptorProto | None:
    """Returns the file of an import such as ``google/type/date.proto``; ``None`` if it is not built in."""
    folder = next((folder for folder in _PACKAGES if name.startswith(folder)), None)
    if folder is None or not name.endswith(".proto"):
        return None
    path = name.removeprefix(folder).removesuffix(".proto")
    if not _PATH.fullmatch(path):
        return None
    try:
        module = importlib.import_module(f"{_PACKAGES[folder]}{path.replace('/', '.')}_pb2")
    except ImportError:
        return None
    return descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
