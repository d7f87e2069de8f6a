"""What the URIs of all protocols share: a host is taken whole, or refused."""

from __future__ import annotations

import pytest

from transforms.clients import check_uri
from transforms.errors import ConfigError

FORMS = [
    "grpc://{}/m",
    "grpcs://{}/m",
    "http://{}/v1/models/m",
    "https://{}/v1/models/m",
    "json+http://{}/m",
    "json+https://{}/m",
    "mlflow+http://{}/m",
    "mms+http://{}/m",
    "mms+http://h:1/m/2?management={}",
    "oip+grpc://{}/m",
    "oip+http://{}/m",
    "openai+http://{}/m?task=embeddings",
    "sagemaker://e?region=eu-west-1&endpoint=http://{}",
    "vertex://p/europe-west4/1?api_endpoint={}",
    "vertex://p/europe-west4/1?private=http://{}/m:predict",
]


@pytest.mark.parametrize("form", FORMS)
def test_an_ipv6_address_in_brackets_is_a_host(form: str) -> None:
    check_uri(form.format("[::1]:8080"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("host", ["[::1]localhost:8080", "[::1]80", "[::1]:80:90", "[v1.a]:8080", "x[::1]:80", "[]:80"])
def test_a_text_beside_the_brackets_is_refused_and_not_dropped(form: str, host: str) -> None:
    with pytest.raises(ConfigError) as told:
        check_uri(form.format(host))
    assert "HOST" in str(told.value) or "IPv6" in str(told.value) or "predict" in str(told.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("character", ["\n", "\t", "\x00", "\x7f", "\x85", "\udc80"])
def test_a_character_that_no_uri_has_is_named_and_not_dropped(form: str, character: str) -> None:
    with pytest.raises(ConfigError) as told:
        check_uri(form.format("127.0.0.1:80") + character + "x")
    assert repr(character) in str(told.value)
    assert character not in str(told.value)
    assert str(told.value).isprintable()
