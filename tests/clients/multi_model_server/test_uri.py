"""Model URIs of multi-model-server and TorchServe: what is understood, and what is said about what is not."""

from __future__ import annotations

import pytest

from transforms.clients import check_uri
from transforms.clients.multi_model_server.uri import MmsAddress, parse
from transforms.errors import ConfigError


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("mms+http://h:8080/m", MmsAddress(False, "h:8080", "m")),
        ("mms+https://h:8443/m/1.0", MmsAddress(True, "h:8443", "m", "1.0")),
        ("mms+http://[::1]:8080/my%20model/", MmsAddress(False, "[::1]:8080", "my model")),
        ("mms+http://h:1/m?management=h:8081", MmsAddress(False, "h:1", "m", management="h:8081")),
        ("mms+http://h:1/m/2?body=multipart&management=[::1]:2",
         MmsAddress(False, "h:1", "m", "2", "[::1]:2", "multipart")),
    ],
)  # fmt: skip
def test_uris(uri: str, address: MmsAddress) -> None:
    assert parse(uri) == address
    check_uri(uri)


def test_urls_are_quoted() -> None:
    address = parse("mms+https://h:1/a%20b/c%2Fd?management=other:2")
    assert str(address.predictions_url) == "https://h:1/predictions/a%20b/c%2Fd"
    assert str(address.model_url) == "https://other:2/models/a%20b"
    assert str(address.versions_url) == "https://other:2/models/a%20b/all"
    assert str(parse("mms+http://h:1/m").model_url) == "http://h:1/models/m"
    assert str(address) == "model a b@c/d at h:1"


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("mms+http://h/m", "port is missing.*8080"),
        ("mms+http://h:0/m", "port 0"),
        ("mms+http://:1/m", "host is missing"),
        ("mms+http://h:1", "must be a model name"),
        ("mms+http://h:1/", "must be a model name"),
        ("mms+http://h:1/m/1/2", "must be a model name"),
        ("mms+http://h:1/m//", "must be a model name"),
        ("mms+http://h:1/predictions/m", "leave out /predictions"),
        ("mms+http://h:1/m?signature=x", "unknown parameter signature"),
        ("mms+http://h:1/m?body=xml", "body=xml: must be one of json, bytes, multipart"),
        ("mms+http://h:1/m?body=", "body takes one value"),
        ("mms+http://h:1/m?body=json&body=json", "body takes one value"),
        ("mms+http://h:1/m?management=h", "management=h: must be HOST:PORT"),
        ("mms+http://h:1/m?management=http://h:1", "must be HOST:PORT"),
        ("mms+http://h:1/m?management=h:99999", "must be HOST:PORT"),
        ("mms+http://h:1/m#x", "nothing may follow"),
    ],
)
def test_wrong_uris_name_the_flag_the_problem_and_the_form(uri: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"--model=.*{problem}.*; the form is mms\+http"):
        check_uri(uri)


@pytest.mark.parametrize("uri", ["mms+http://user:s3cret@h:1/m", "mms+http://h:1/m?management=user:s3cret@h:2"])
def test_a_password_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(uri)
    assert "s3cret" not in str(caught.value)
