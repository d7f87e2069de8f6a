"""TensorFlow Serving's protobuf messages, without TensorFlow.

``tensorflow_serving.apis`` imports all of TensorFlow to send a tensor. The messages are small and public, so they are
described here, with their real full names and field numbers, and loaded into a private ``DescriptorPool``: the official
package can be imported in the same process without a clash. ``tests/clients/test_tfserving_messages.py`` proves them equal,
field by field and byte by byte, to ``tensorflow-serving-api``.

Sources: tensorflow/core/framework/{types,tensor,tensor_shape}.proto, tensorflow/core/example/{feature,example}.proto,
tensorflow/core/protobuf/meta_graph.proto, tensorflow_serving/apis/*.proto, google/rpc/{status,error_details}.proto.
Fields that a client has no use for are left out; protobuf keeps them as unknown fields.
"""

from __future__ import annotations

from transforms.clients.private_pool import PrivatePool

_MESSAGES = {
    "google.protobuf.Any": "string type_url = 1; bytes value = 2",
    "google.protobuf.Int64Value": "int64 value = 1",
    "google.protobuf.Duration": "int64 seconds = 1; int32 nanos = 2",
    "google.rpc.Status": "int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3",
    "google.rpc.RetryInfo": "google.protobuf.Duration retry_delay = 1",
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
    # PredictionService
    "tensorflow.serving.ModelSpec": """
        string name = 1; google.protobuf.Int64Value version = 2 (version_choice);
        string version_label = 4 (version_choice); string signature_name = 3""",
    "tensorflow.serving.PredictRequest": """
        tensorflow.serving.ModelSpec model_spec = 1; map<string, tensorflow.TensorProto> inputs = 2;
        repeated string output_filter = 3""",
    "tensorflow.serving.PredictResponse": """
        map<string, tensorflow.TensorProto> outputs = 1; tensorflow.serving.ModelSpec model_spec = 2""",
    # The examples are messages (tensorflow.Example) in the official description: the same on the wire as bytes, and so
    # serialized records go in without being parsed again.
    "tensorflow.serving.ExampleList": "repeated bytes examples = 1",
    "tensorflow.serving.Input": "tensorflow.serving.ExampleList example_list = 1 (kind)",
    "tensorflow.serving.Class": "string label = 1; float score = 2",
    "tensorflow.serving.Classifications": "repeated tensorflow.serving.Class classes = 1",
    "tensorflow.serving.ClassificationResult": "repeated tensorflow.serving.Classifications classifications = 1",
    "tensorflow.serving.ClassificationRequest": """
        tensorflow.serving.ModelSpec model_spec = 1; tensorflow.serving.Input input = 2""",
    "tensorflow.serving.ClassificationResponse": """
        tensorflow.serving.ClassificationResult result = 1; tensorflow.serving.ModelSpec model_spec = 2""",
    "tensorflow.serving.Regression": "float value = 1",
    "tensorflow.serving.RegressionResult": "repeated tensorflow.serving.Regression regressions = 1",
    "tensorflow.serving.RegressionRequest": """
        tensorflow.serving.ModelSpec model_spec = 1; tensorflow.serving.Input input = 2""",
    "tensorflow.serving.RegressionResponse": """
        tensorflow.serving.RegressionResult result = 1; tensorflow.serving.ModelSpec model_spec = 2""",
    "tensorflow.serving.SignatureDefMap": "map<string, tensorflow.SignatureDef> signature_def = 1",
    "tensorflow.serving.GetModelMetadataRequest": """
        tensorflow.serving.ModelSpec model_spec = 1; repeated string metadata_field = 2""",
    "tensorflow.serving.GetModelMetadataResponse": """
        tensorflow.serving.ModelSpec model_spec = 1; map<string, google.protobuf.Any> metadata = 2""",
    # ModelService
    "tensorflow.serving.StatusProto": "int32 error_code = 1; string error_message = 2",
    "tensorflow.serving.ModelVersionStatus": """
        int64 version = 1; tensorflow.serving.ModelVersionStatus.State state = 2;
        tensorflow.serving.StatusProto status = 3""",
    "tensorflow.serving.GetModelStatusRequest": "tensorflow.serving.ModelSpec model_spec = 1",
    "tensorflow.serving.GetModelStatusResponse": """
        repeated tensorflow.serving.ModelVersionStatus model_version_status = 1""",
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
    "tensorflow.serving.ModelVersionStatus.State": {
        "UNKNOWN": 0,
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    },
}

DATA_TYPES = _ENUMS["tensorflow.DataType"]
"""TensorFlow's ``DataType`` names to their numbers; a reference type is its number plus 100."""

VERSION_STATES = {number: name for name, number in _ENUMS["tensorflow.serving.ModelVersionStatus.State"].items()}
"""Numbers of ``ModelVersionStatus.State`` to their names."""

_PACKAGES = {
    "google.protobuf": (),
    "google.rpc": ("google.protobuf",),
    "tensorflow": (),
    "tensorflow.serving": ("google.protobuf", "tensorflow"),
}
"""The packages, each with those it uses; one file of the pool for each, in an order in which they can be added."""

_pool = PrivatePool(_MESSAGES, _ENUMS, _PACKAGES)
message_class = _pool.message_class

MESSAGE_NAMES = tuple(_MESSAGES)
"""The full names of all messages described here."""

TensorProto = message_class("tensorflow.TensorProto")
Example = message_class("tensorflow.Example")
ModelSpec = message_class("tensorflow.serving.ModelSpec")
PredictRequest = message_class("tensorflow.serving.PredictRequest")
PredictResponse = message_class("tensorflow.serving.PredictResponse")
ClassificationRequest = message_class("tensorflow.serving.ClassificationRequest")
ClassificationResponse = message_class("tensorflow.serving.ClassificationResponse")
RegressionRequest = message_class("tensorflow.serving.RegressionRequest")
RegressionResponse = message_class("tensorflow.serving.RegressionResponse")
SignatureDefMap = message_class("tensorflow.serving.SignatureDefMap")
GetModelMetadataRequest = message_class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = message_class("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = message_class("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = message_class("tensorflow.serving.GetModelStatusResponse")
RpcStatus = message_class("google.rpc.Status")
RetryInfo = message_class("google.rpc.RetryInfo")

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
REGRESS = "/tensorflow.serving.PredictionService/Regress"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
