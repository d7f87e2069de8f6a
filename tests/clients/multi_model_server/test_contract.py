"""The contract, over the inference API of multi-model-server and TorchServe."""

from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.multi_model_server.http import MmsClient, parse
from transforms.clients.selection import select_outputs
from transforms.errors import ModelFailedError
from transforms.testing.contract import ClientContract
from transforms.testing.multi_model_server.stub import TorchServeStub


class TestMmsHttp(ClientContract):
    stub_class = TorchServeStub
    dtypes = ()
    has_signature = False
    has_labels = False
    max_rows = 1
    visible_kinds = ("short", "no_outputs", "malformed")
    poison_error = ModelFailedError

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Looks for another served version with every request, instead of every few seconds."""
        options = options or ClientOptions()
        return select_outputs(MmsClient(parse(uri), options, version_refresh_s=0), options.outputs)
