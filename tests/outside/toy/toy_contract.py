"""The contract of a client, over the toy protocol."""

from kms_toy.stub import ToyStub

from transforms.testing.contract import ClientContract


class TestToy(ClientContract):
    stub_class = ToyStub
    dtypes = ("float32", "float64", "int32", "int64", "bool")
    has_labels = False
    test_the_signature_asked_for = None  # type: ignore[assignment]  # a model has one signature
