"""A schema registry for tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from transforms.testing.schema_registry_stub import SchemaRegistryStub


@pytest.fixture
def registry() -> Iterator[SchemaRegistryStub]:
    """An empty registry that runs."""
    with SchemaRegistryStub() as stub:
        yield stub
