"""The protobuf messages that the server needs in addition to the client's (``transforms/clients/tfserving/messages.py``).

Their nested messages are declared as ``bytes``, which is the same on the wire. So examples are passed on without parsing, as
TensorFlow Serving does with its ``SerializedInput`` (apis/internal/serialized_input.proto).
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto


def _declare() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="pipeline/embedded.proto", package="pipeline.embedded", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, bool, str | None]) -> None:
        declared = file.message_type.add(name=name)
        for field_name, number, repeated, type_name in fields:
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            kind = _FIELD.TYPE_MESSAGE if type_name else _FIELD.TYPE_BYTES
            declared.field.add(name=field_name, number=number, label=label, type=kind, type_name=type_name)

    message("Examples", ("examples", 1, True, None), ("context", 2, False, None))
    message(
        "Input",
        ("example_list", 1, False, ".pipeline.embedded.Examples"),
        ("example_list_with_context", 2, False, ".pipeline.embedded.Examples"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_pool = _declare()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"pipeline.embedded.{name}"))


Input = _message("Input")
"""``tensorflow.serving.Input`` with its examples left serialized."""


def serialized_examples(request_input: Any) -> list[bytes]:
    """Returns the serialized ``tf.Example`` records of an ``Input``; a context is put before each of them.

    Protobuf merges concatenated serialized messages, and merging is the meaning of the context (input.proto).
    """
    serialized = Input.FromString(request_input.SerializeToString())
    if serialized.HasField("example_list_with_context"):
        listed = serialized.example_list_with_context
        return [listed.context + example for example in listed.examples]
    return list(serialized.example_list.examples)
