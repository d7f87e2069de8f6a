"""TensorFlow's protobuf messages for tensors, ``tf.Example`` records and signatures, without TensorFlow.

The messages have their original full names and field numbers. They are in a private ``DescriptorPool``, so TensorFlow can be
imported in the same process. The requests of TensorFlow Serving (``tfserving/messages.py``) use them.
``tests/clients/tfserving/test_messages.py`` compares all messages with those of ``tensorflow-serving-api``, field by field
and byte by byte.

Sources: tensorflow/core/framework/{types,tensor,tensor_shape}.proto, tensorflow/core/example/{feature,example}.proto,
tensorflow/core/protobuf/meta_graph.proto, tensorflow_serving/apis/get_model_metadata.proto. Fields that a client does not
use are left out; protobuf keeps them as unknown fields.
"""

from __future__ import annotations

from transforms.clients.wire.protobuf import PrivatePool

_MESSAGES = {
    # tensors
    "tensorflow.TensorShapeProto.Dim": "int64 size = 1; string name = 2",
    "tensorflow.TensorShapeProto": "repeated tensorflow.TensorShapeProto.Dim dim = 2; bool unknown_rank = 3",
    "tensorflow.TensorProto": """
        tensorflow.DataType dtype = 1; tensorflow.TensorShapeProto tensor_shape = 2; int32 version_number = 3;
        bytes tensor_content = 4; repeated int32 half_val = 13; repeated float float_val = 5; repeated double double_val = 6;
        repeated int32 int_val = 7; repeated bytes string_val = 8; repeated float scomplex_val = 9;
        repeated int64 int64_val = 10; repeated bool bool_val = 11; repeated double dcomplex_val = 12;
        repeated uint32 uint32_val = 16; repeated uint64 uint64_val = 17""",
    # tf.Example
    "tensorflow.BytesList": "repeated bytes value = 1",
    "tensorflow.FloatList": "repeated float value = 1",
    "tensorflow.Int64List": "repeated int64 value = 1",
    "tensorflow.Feature": """
        tensorflow.BytesList bytes_list = 1 (kind); tensorflow.FloatList float_list = 2 (kind);
        tensorflow.Int64List int64_list = 3 (kind)""",
    "tensorflow.Features": "map<string, tensorflow.Feature> feature = 1",
    "tensorflow.Example": "tensorflow.Features features = 1",
    # signatures
    "tensorflow.TensorInfo": """
        string name = 1 (encoding); tensorflow.DataType dtype = 2; tensorflow.TensorShapeProto tensor_shape = 3""",
    "tensorflow.SignatureDef": """
        map<string, tensorflow.TensorInfo> inputs = 1; map<string, tensorflow.TensorInfo> outputs = 2;
        string method_name = 3; map<string, tensorflow.TensorProto> defaults = 4""",
    "tensorflow.serving.SignatureDefMap": "map<string, tensorflow.SignatureDef> signature_def = 1",
}

_ENUMS = {
    "tensorflow.DataType": {
        "DT_INVALID": 0,
        "DT_FLOAT": 1,
        "DT_DOUBLE": 2,
        "DT_INT32": 3,
        "DT_UINT8": 4,
        "DT_INT16": 5,
        "DT_INT8": 6,
        "DT_STRING": 7,
        "DT_COMPLEX64": 8,
        "DT_INT64": 9,
        "DT_BOOL": 10,
        "DT_QINT8": 11,
        "DT_QUINT8": 12,
        "DT_QINT32": 13,
        "DT_BFLOAT16": 14,
        "DT_QINT16": 15,
        "DT_QUINT16": 16,
        "DT_UINT16": 17,
        "DT_COMPLEX128": 18,
        "DT_HALF": 19,
        "DT_RESOURCE": 20,
        "DT_VARIANT": 21,
        "DT_UINT32": 22,
        "DT_UINT64": 23,
    },
}

DATA_TYPES = _ENUMS["tensorflow.DataType"]
"""The names of TensorFlow's ``DataType`` to their numbers. The number of a reference type is 100 higher."""

POOL = PrivatePool("tensorflow", _MESSAGES, _ENUMS, {"tensorflow": (), "tensorflow.serving": ("tensorflow",)})
message_class = POOL.message_class

MESSAGE_NAMES = tuple(_MESSAGES)
"""The full names of all messages of this module."""

TensorProto = message_class("tensorflow.TensorProto")
Example = message_class("tensorflow.Example")
SignatureDefMap = message_class("tensorflow.serving.SignatureDefMap")
