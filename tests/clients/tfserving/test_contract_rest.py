"""The contract, over TensorFlow Serving's REST API."""

from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.selection import select_outputs
from transforms.clients.tfserving.rest import TfServingRestClient, parse
from transforms.testing.contract import ClientContract
from transforms.testing.tfserving.rest_stub import TfServingRestStub


class TestTfServingRest(ClientContract):
    stub_class = TfServingRestStub
    dtypes = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "bool", "string")

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Looks for another served version with every request, instead of every few seconds."""
        options = options or ClientOptions()
        return select_outputs(TfServingRestClient(parse(uri), options, version_refresh_s=0), options.outputs)
