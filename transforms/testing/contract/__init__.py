"""The contract of a model-server client as tests: subclass ``ClientContract`` and name a stub server.

    from transforms.testing.contract import ClientContract

    class TestToy(ClientContract):
        stub_class = ToyStub            # a StubServer that speaks the protocol: transforms.testing.http_stub, grpc_stub
        dtypes = ("float32", "int64")   # what the protocol carries both ways

Attributes say what a protocol has not, and a test that has no meaning for it is replaced or set to ``None``. It needs
pytest: ``pip install 'kafka-model-scoring[testing]'``. ``CONTRIBUTING.md`` shows a whole protocol.
"""

import pytest

pytest.register_assert_rewrite(*(f"transforms.testing.contract.{part}" for part in ("client", "metadata", "outputs")))

from transforms.testing.contract.client import ClientContract  # noqa: E402  # asserts are rewritten on import
from transforms.testing.contract.metadata import TIMEOUT_S, MetadataContract, rows_of  # noqa: E402  # likewise

__all__ = ["TIMEOUT_S", "ClientContract", "MetadataContract", "rows_of"]
