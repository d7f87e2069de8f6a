"""The contract, over TensorFlow Serving's gRPC API."""

from transforms.clients.wire.tensorflow.tensors import DTYPE_NAMES
from transforms.testing.contract import ClientContract
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub


class TestTfServingGrpc(ClientContract):
    stub_class = TfServingGrpcStub
    dtypes = tuple(DTYPE_NAMES.values())
    asks_for_outputs = True
