"""TensorFlow Serving's protobuf messages, without TensorFlow.

``tensorflow_serving.apis`` imports all of TensorFlow to send a tensor. The messages are small and public, so they are
described here, with their real full names and field numbers, in a private ``DescriptorPool``. The official package can be
imported in the same process without a clash. ``tests/clients/tfserving/test_messages.py`` checks that they equal those of
``tensorflow-serving-api``, field by field and byte by byte.

Sources: tensorflow_serving/apis/*.proto; tensors and signatures are in ``wire/tensorflow/messages.py``. Fields that a client
does not use are left out; protobuf keeps them as unknown fields.
"""

from __future__ import annotations

from transforms.clients.wire.protobuf import PrivatePool
from transforms.clients.wire.tensorflow.messages import POOL

_MESSAGES = {
    "google.protobuf.Any": "string type_url = 1; bytes value = 2",
    "google.protobuf.Int64Value": "int64 value = 1",
    # PredictionService
    "tensorflow.serving.ModelSpec": """
        string name = 1; google.protobuf.Int64Value version = 2 (version_choice);
        string version_label = 4 (version_choice); string signature_name = 3""",
    "tensorflow.serving.PredictRequest": """
        tensorflow.serving.ModelSpec model_spec = 1; map<string, tensorflow.TensorProto> inputs = 2;
        repeated string output_filter = 3""",
    "tensorflow.serving.PredictResponse": """
        map<string, tensorflow.TensorProto> outputs = 1; tensorflow.serving.ModelSpec model_spec = 2""",
    # In the official description the examples are messages (tensorflow.Example). Bytes are the same on the wire, and so
    # serialized records are sent without being parsed.
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
    "tensorflow.serving.ModelVersionStatus.State": {
        "UNKNOWN": 0,
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    },
}

VERSION_STATES = {number: name for name, number in _ENUMS["tensorflow.serving.ModelVersionStatus.State"].items()}
"""Number of a ``ModelVersionStatus.State`` to its name."""

_PACKAGES = {"google.protobuf": (), "tensorflow.serving": ("google.protobuf",)}

message_class = PrivatePool("tensorflow_serving", _MESSAGES, _ENUMS, _PACKAGES, on=POOL).message_class

MESSAGE_NAMES = tuple(_MESSAGES)
"""The full names of all messages described here."""

ModelSpec = message_class("tensorflow.serving.ModelSpec")
PredictRequest = message_class("tensorflow.serving.PredictRequest")
PredictResponse = message_class("tensorflow.serving.PredictResponse")
ClassificationRequest = message_class("tensorflow.serving.ClassificationRequest")
ClassificationResponse = message_class("tensorflow.serving.ClassificationResponse")
RegressionRequest = message_class("tensorflow.serving.RegressionRequest")
RegressionResponse = message_class("tensorflow.serving.RegressionResponse")
GetModelMetadataRequest = message_class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = message_class("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = message_class("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = message_class("tensorflow.serving.GetModelStatusResponse")

PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
REGRESS = "/tensorflow.serving.PredictionService/Regress"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
