"""The protobuf messages of the Open Inference Protocol, described in Python instead of generated code.

They are in a private pool, as in ``wire/tensorflow/messages.py``. tritonclient, kserve and mlserver each have a copy of
``inference.*``, and no two of these can be loaded in one process. ``tests/servers/test_oip_messages.py`` proves them equal,
field by field and on the wire, to tritonclient's and mlserver's.

Sources: https://github.com/kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto; Triton's
grpc_service.proto and model_config.proto for its ModelConfig and repository extensions. Fields that a client does not use
are left out; protobuf keeps them as unknown fields.
"""

from __future__ import annotations

from transforms.clients.wire.protobuf import PrivatePool

_MESSAGES = {
    "inference.ServerMetadataRequest": "",
    "inference.ServerMetadataResponse": "string name = 1; string version = 2; repeated string extensions = 3",
    "inference.ModelReadyRequest": "string name = 1; string version = 2",
    "inference.ModelReadyResponse": "bool ready = 1",
    "inference.ModelMetadataRequest": "string name = 1; string version = 2",
    "inference.ModelMetadataResponse": """
        string name = 1; repeated string versions = 2; string platform = 3;
        repeated inference.ModelMetadataResponse.TensorMetadata inputs = 4;
        repeated inference.ModelMetadataResponse.TensorMetadata outputs = 5""",
    "inference.ModelMetadataResponse.TensorMetadata": "string name = 1; string datatype = 2; repeated int64 shape = 3",
    "inference.InferTensorContents": """
        repeated bool bool_contents = 1; repeated int32 int_contents = 2; repeated int64 int64_contents = 3;
        repeated uint32 uint_contents = 4; repeated uint64 uint64_contents = 5; repeated float fp32_contents = 6;
        repeated double fp64_contents = 7; repeated bytes bytes_contents = 8""",
    "inference.ModelInferRequest": """
        string model_name = 1; string model_version = 2; string id = 3;
        repeated inference.ModelInferRequest.InferInputTensor inputs = 5;
        repeated inference.ModelInferRequest.InferRequestedOutputTensor outputs = 6;
        repeated bytes raw_input_contents = 7""",
    "inference.ModelInferRequest.InferInputTensor": """
        string name = 1; string datatype = 2; repeated int64 shape = 3; inference.InferTensorContents contents = 5""",
    "inference.ModelInferRequest.InferRequestedOutputTensor": "string name = 1",
    "inference.ModelInferResponse": """
        string model_name = 1; string model_version = 2; string id = 3;
        repeated inference.ModelInferResponse.InferOutputTensor outputs = 5; repeated bytes raw_output_contents = 6""",
    "inference.ModelInferResponse.InferOutputTensor": """
        string name = 1; string datatype = 2; repeated int64 shape = 3; inference.InferTensorContents contents = 5""",
    # Triton's extension model_configuration
    "inference.ModelConfigRequest": "string name = 1; string version = 2",
    "inference.ModelConfigResponse": "inference.ModelConfig config = 1",
    "inference.ModelConfig": "string name = 1; int32 max_batch_size = 4; repeated inference.ModelInput input = 5",
    "inference.ModelInput": "string name = 1; bool optional = 8",
    # the extension model_repository
    "inference.RepositoryIndexRequest": "string repository_name = 1; bool ready = 2",
    "inference.RepositoryIndexResponse": "repeated inference.RepositoryIndexResponse.ModelIndex models = 1",
    "inference.RepositoryIndexResponse.ModelIndex": """
        string name = 1; string version = 2; string state = 3; string reason = 4""",
}

MESSAGE_NAMES = tuple(_MESSAGES)
"""The full names of all messages described here."""

message_class = PrivatePool("open_inference", _MESSAGES, {}, {"inference": ()}).message_class

ServerMetadataRequest = message_class("inference.ServerMetadataRequest")
ServerMetadataResponse = message_class("inference.ServerMetadataResponse")
ModelReadyRequest = message_class("inference.ModelReadyRequest")
ModelReadyResponse = message_class("inference.ModelReadyResponse")
ModelMetadataRequest = message_class("inference.ModelMetadataRequest")
ModelMetadataResponse = message_class("inference.ModelMetadataResponse")
InferTensorContents = message_class("inference.InferTensorContents")
ModelInferRequest = message_class("inference.ModelInferRequest")
ModelInferResponse = message_class("inference.ModelInferResponse")
ModelConfigRequest = message_class("inference.ModelConfigRequest")
ModelConfigResponse = message_class("inference.ModelConfigResponse")
RepositoryIndexRequest = message_class("inference.RepositoryIndexRequest")
RepositoryIndexResponse = message_class("inference.RepositoryIndexResponse")

SERVER_METADATA = "/inference.GRPCInferenceService/ServerMetadata"
MODEL_READY = "/inference.GRPCInferenceService/ModelReady"
MODEL_METADATA = "/inference.GRPCInferenceService/ModelMetadata"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
MODEL_CONFIG = "/inference.GRPCInferenceService/ModelConfig"
REPOSITORY_INDEX = "/inference.GRPCInferenceService/RepositoryIndex"
MLSERVER_REPOSITORY_INDEX = "/inference.model_repository.ModelRepositoryService/RepositoryIndex"
"""The same call of MLServer, in another service with the same messages on the wire."""
