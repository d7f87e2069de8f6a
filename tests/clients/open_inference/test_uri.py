"""Model URIs of the Open Inference Protocol: what they mean, and what the message says of a wrong one."""

from __future__ import annotations

import pytest

from transforms.clients import check_uri
from transforms.clients.open_inference.uri import OipAddress, parse_grpc, parse_http
from transforms.errors import ConfigError


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("oip+grpc://h:8001/m", OipAddress(False, "h", 8001, "m")),
        ("oip+grpcs://h:8001/m/3", OipAddress(True, "h", 8001, "m", "3")),
        ("oip+grpc://[::1]:8001/m/v1.2/", OipAddress(False, "::1", 8001, "m", "v1.2")),
        ("oip+grpc://h:1/v2", OipAddress(False, "h", 1, "v2")),
        ("oip+grpc://h:1/a%2Fb", OipAddress(False, "h", 1, "a/b")),
        ("oip+grpc://h:1/m/2?batch=none", OipAddress(False, "h", 1, "m", "2", unbatched=True)),
    ],
)
def test_grpc(uri: str, address: OipAddress) -> None:
    assert parse_grpc(uri) == address


@pytest.mark.parametrize(
    ("uri", "address", "url"),
    [
        ("oip+http://h/m", OipAddress(False, "h", 80, "m"), "http://h:80/v2/models/m"),
        ("oip+https://h/m/1", OipAddress(True, "h", 443, "m", "1"), "https://h:443/v2/models/m/versions/1"),
        ("oip+http://h:1/v2/models/m", OipAddress(False, "h", 1, "m"), "http://h:1/v2/models/m"),
        (
            "oip+http://h:1/team/a/v2/models/m/versions/v%201",
            OipAddress(False, "h", 1, "m", "v 1", "/team/a"),
            "http://h:1/team/a/v2/models/m/versions/v%201",
        ),
    ],
)
def test_http(uri: str, address: OipAddress, url: str) -> None:
    assert parse_http(uri) == address
    assert address.model_url == url


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("oip+grpc://h/m", "port is missing"),
        ("oip+grpc://h:0/m", "port 0"),
        ("oip+grpc://h:x/m", "not a URI"),
        ("oip+grpc://:1/m", "host is missing"),
        ("oip+grpc://h:1", "must be a model's name"),
        ("oip+grpc://h:1/m/1/2", "must be a model's name"),
        ("oip+grpc://h:1/m@2", "follows a slash"),
        ("oip+grpc://h:1/m?signature=x", "no signatures"),
        ("oip+grpc://h:1/m?batch=8", "only batch=none may follow"),
        ("oip+grpc://h:1/m#x", "nothing may follow a #"),
        ("oip+grpc://h:1/v2/models/m", "is for oip"),
        ("oip+http://h:1/", "must be a model's name"),
    ],
)
def test_mistakes_name_the_flag_and_the_form(uri: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"--model=.*{problem}.*the form is oip"):
        check_uri(uri)


def test_a_password_is_not_echoed() -> None:
    with pytest.raises(ConfigError, match="must not hold a user name or password") as caught:
        check_uri("oip+http://u:s3cret@h:1/m")
    assert "s3cret" not in str(caught.value)


def test_the_forms_are_listed_for_an_unknown_scheme() -> None:
    with pytest.raises(ConfigError, match=r"oip\+grpc://HOST:PORT/MODEL\[/VERSION\]"):
        check_uri("oip://h:1/m")


def test_the_same_model_over_the_other_protocol() -> None:
    over_grpc = "oip+grpcs://[::1]:8001/a%20m/v1.2"
    over_http = "oip+https://[::1]:8001/a%20m/v1.2"
    assert parse_grpc(over_grpc).http_uri == over_http
    assert parse_http(over_http).grpc_uri == over_grpc
