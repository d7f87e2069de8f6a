"""The contract, over TensorFlow Serving's REST API."""

from transforms.clients.base import ClientOptions
from transforms.clients.tfserving.rest import TfServingRestClient, parse
from transforms.testing.contract import ClientContract
from transforms.testing.tfserving_rest_stub import TfServingRestStub


class TestTfServingRest(ClientContract):
    stub_class = TfServingRestStub
    dtypes = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool", "string")

    def open(self, uri: str, options: ClientOptions | None = None) -> TfServingRestClient:
        """Looks for another served version with every request, instead of every few seconds."""
        return TfServingRestClient(parse(uri), options or ClientOptions(), version_refresh_s=0)
