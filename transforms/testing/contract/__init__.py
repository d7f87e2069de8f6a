"""The tests that every client of a model server must pass. Subclass ``ClientContract`` and give it a stub server.

    from transforms.testing.contract import ClientContract

    class TestToy(ClientContract):
        stub_class = ToyStub            # a StubServer that speaks the protocol: transforms.testing.http_stub, grpc_stub
        dtypes = ("float32", "int64")   # what the protocol carries both ways

Attributes of the class state what a protocol does not have. A test that does not apply to the protocol is overridden or set
to ``None``. The tests need pytest: ``pip install 'kafka-model-scoring[testing]'``. ``CONTRIBUTING.md`` has a whole protocol.
"""

import pytest

pytest.register_assert_rewrite(*(f"transforms.testing.contract.{part}" for part in ("client", "metadata", "outputs")))

from transforms.testing.contract.client import ClientContract  # noqa: E402  # asserts are rewritten on import
from transforms.testing.contract.metadata import TIMEOUT_S, MetadataContract, rows_of  # noqa: E402  # likewise

__all__ = ["TIMEOUT_S", "ClientContract", "MetadataContract", "rows_of"]
