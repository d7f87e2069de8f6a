"""The contract, over the Open Inference Protocol's gRPC API."""

from tests.clients.open_inference.contract import TritonContract
from transforms.clients.open_inference.tensors import DTYPE_NAMES
from transforms.testing.open_inference.grpc_stub import OipGrpcStub


class TestOipGrpc(TritonContract):
    stub_class = OipGrpcStub
    dtypes = tuple(DTYPE_NAMES.values())
    asks_for_outputs = True
