"""Model URIs: what is understood, and what is said about what is not."""

from __future__ import annotations

import pytest

from transforms.clients import check_uri
from transforms.clients.tfserving.uri import ModelAddress, parse_grpc, parse_rest
from transforms.errors import ConfigError


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("grpc://h:8500/m", ModelAddress(False, "h", 8500, "m")),
        ("grpcs://h:443/m@7", ModelAddress(True, "h", 443, "m", version=7)),
        ("grpc://h:1/m@stable?signature=s", ModelAddress(False, "h", 1, "m", label="stable", signature="s")),
        ("grpc://[::1]:8500/my%20model", ModelAddress(False, "::1", 8500, "my model")),
        ("grpc://h:1/a@b@3", ModelAddress(False, "h", 1, "a@b", version=3)),
        ("grpc://h:1/m?signature=tensorflow%2Fserving%2Fregress",
         ModelAddress(False, "h", 1, "m", signature="tensorflow/serving/regress")),
    ],
)  # fmt: skip
def test_grpc_uris(uri: str, address: ModelAddress) -> None:
    assert parse_grpc(uri) == address
    check_uri(uri)


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://h/v1/models/m", ModelAddress(False, "h", 80, "m")),
        ("https://h/v1/models/m/versions/3", ModelAddress(True, "h", 443, "m", version=3)),
        ("http://h:8501/v1/models/m/labels/12", ModelAddress(False, "h", 8501, "m", label="12")),
        ("http://h:8501/gate/way/v1/models/m?signature=s",
         ModelAddress(False, "h", 8501, "m", signature="s", prefix="/gate/way")),
    ],
)  # fmt: skip
def test_rest_uris(uri: str, address: ModelAddress) -> None:
    assert parse_rest(uri) == address
    check_uri(uri)


def test_urls_are_quoted() -> None:
    assert (
        parse_rest("http://[::1]:1/v1/models/a%20b/labels/c%2Fd").base_url == "http://[::1]:1/v1/models/a%20b/labels/c%2Fd"
    )


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("grpc://h/m", "port is missing.*8500"),
        ("grpc://h:x/m", "not a URI"),
        ("grpc://h:0/m", "port 0"),
        ("grpc://:1/m", "host is missing"),
        ("grpc://h:1/", "one model name"),
        ("grpc://h:1/v1/models/m", "for http"),
        ("grpc://h:1/m@", "missing behind @"),
        ("grpc://h:1/m@99999999999999999999", "64 bits"),
        ("grpc://h:1/m?sig=x", "unknown parameter sig"),
        ("grpc://h:1/m?signature=", "takes one name"),
        ("grpc://h:1/m?signature=a&signature=b", "takes one name"),
        ("grpc://h:1/m#x", "nothing may follow"),
        ("http://h:1/m", "must be /v1/models/MODEL"),
        ("http://h:1/v1/models/m:predict", "leave out the method"),
        ("http://h:1/v1/models/m/versions/stable", "labels"),
        ("http://h:1/v1/models/m/versions/99999999999999999999", "64 bits"),
    ],
)
def test_wrong_uris_name_the_flag_the_problem_and_the_form(uri: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"--model=.*{problem}.*; the form is {uri[:4]}"):
        check_uri(uri)


@pytest.mark.parametrize("uri", ["grpc://user:s3cret@h:1/m", "http://user:s3cret@h:1/v1/models/m"])
def test_a_password_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(uri)
    assert "s3cret" not in str(caught.value)


def test_the_same_model_over_the_other_protocol() -> None:
    over_grpc = "grpcs://h:8500/a%20m@a%2Fb?signature=s%20t"
    over_http = "https://h:8500/v1/models/a%20m/labels/a%2Fb?signature=s%20t"
    assert parse_grpc(over_grpc).rest_uri == over_http
    assert parse_rest(over_http).grpc_uri == over_grpc
