"""``google.rpc.Status`` and ``RetryInfo``: the details that a gRPC server may send in its trailers.

Sources: google/rpc/{status,error_details}.proto.
"""

from __future__ import annotations

from transforms.clients.wire.protobuf import PrivatePool

_MESSAGES = {
    "google.protobuf.Any": "string type_url = 1; bytes value = 2",
    "google.protobuf.Duration": "int64 seconds = 1; int32 nanos = 2",
    "google.rpc.Status": "int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3",
    "google.rpc.RetryInfo": "google.protobuf.Duration retry_delay = 1",
}

message_class = PrivatePool("rpc", _MESSAGES, {}, {"google.protobuf": (), "google.rpc": ("google.protobuf",)}).message_class

MESSAGE_NAMES = tuple(_MESSAGES)
"""The full names of all messages described here."""

RpcStatus = message_class("google.rpc.Status")
RetryInfo = message_class("google.rpc.RetryInfo")
