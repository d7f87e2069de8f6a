"""The contract, over the inference API of multi-model-server and TorchServe."""

from transforms.clients.base import ClientOptions
from transforms.clients.multi_model_server.http import MmsClient, parse
from transforms.errors import ModelFailedError
from transforms.testing.contract import ClientContract
from transforms.testing.mms_stub import TorchServeStub


class TestMmsHttp(ClientContract):
    stub_class = TorchServeStub
    dtypes = ()
    has_signature = False
    has_labels = False
    max_rows = 1
    visible_kinds = ("short", "no_outputs", "malformed")
    poison_error = ModelFailedError

    def open(self, uri: str, options: ClientOptions | None = None) -> MmsClient:
        """Looks for another served version with every request, instead of every few seconds."""
        return MmsClient(parse(uri), options or ClientOptions(), version_refresh_s=0)
