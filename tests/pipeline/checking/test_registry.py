"""The schema registry is asked once, before anything is consumed, and only if its schemas are needed."""

from __future__ import annotations

import importlib.util

import pytest

from pipeline.checking.registry import check_registry
from pipeline.checking.waiting import StartWait
from pipeline.cli.config import Config
from tests.pipeline.cli.parsing import OWN, parse
from transforms.errors import ContractError, NotReadyError
from transforms.testing.schema_registry_stub import SchemaRegistryStub

SECRET = "hunter2-0123456789"


def check(config: Config) -> None:
    """Asks once."""
    check_registry(config, StartWait(0))


@pytest.mark.skipif(importlib.util.find_spec("authlib") is None, reason="needs confluent-kafka[schemaregistry]")
def test_the_registry_is_asked_before_anything_is_consumed() -> None:
    with SchemaRegistryStub() as registry:
        flags = (*OWN, f"--schema_registry={registry.url}", "--input_format=avro")
        check(parse(*flags))
        assert registry.requests == ["/schemas/ids/1"]
        registry.user_info = f"me:{SECRET}"
        with pytest.raises(ContractError, match=r"--schema_registry: .* HTTP 401.* --schema_registry_config") as refused:
            check(parse(*flags))
        assert not isinstance(refused.value, NotReadyError), "no waiting cures it"
        check(parse(*flags, f"--schema_registry_config=basic.auth.user.info=me:{SECRET}"))
        secure = registry.url.replace("http:", "https:")
        with pytest.raises(ContractError, match="does not speak TLS") as refused:
            check(parse(*OWN, f"--schema_registry={secure}", "--input_format=avro"))
        assert not isinstance(refused.value, NotReadyError), "no waiting cures it"
        registry.down()
        with pytest.raises(NotReadyError, match=r"--schema_registry: .* does not answer"):
            check(parse(*flags))
        check(parse(*OWN, f"--schema_registry={registry.url}", "--input_format=json"))
        check(parse(*OWN, "--input_format=avro"))
