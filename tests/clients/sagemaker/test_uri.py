"""The model URI of SageMaker."""

from __future__ import annotations

import pytest

from transforms.clients import check_uri
from transforms.clients.sagemaker.uri import parse
from transforms.errors import ConfigError


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "runtime.sagemaker.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "runtime.sagemaker.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "runtime.sagemaker.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "runtime.sagemaker.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_where_it_is_asked(region: str, host: str) -> None:
    address = parse(f"sagemaker://fraud-2?region={region}")
    assert address.url == f"https://{host}/endpoints/fraud-2/invocations"
    assert address.secure
    assert str(address) == f"endpoint fraud-2 at {host}"


def test_its_hosts_are_those_of_botocore() -> None:
    """Asked for each region that botocore's list has for the service."""
    from botocore.session import Session

    session = Session()
    resolver = session.get_component("endpoint_resolver")
    seen = 0
    for partition in ("aws", "aws-cn", "aws-us-gov", "aws-eusc"):
        for region in resolver.get_available_endpoints("runtime.sagemaker", partition):
            host = resolver.construct_endpoint("runtime.sagemaker", region)["hostname"]
            assert parse(f"sagemaker://e?region={region}").origin == f"https://{host}"
            seen += 1
    assert seen > 20


def test_an_address_of_ones_own() -> None:
    address = parse("sagemaker://e?region=eu-west-1&endpoint=https://vpce-1.runtime.sagemaker.eu-west-1.vpce.amazonaws.com")
    assert address.url == "https://vpce-1.runtime.sagemaker.eu-west-1.vpce.amazonaws.com/endpoints/e/invocations"
    assert not parse("sagemaker://e?region=eu-west-1&endpoint=http://127.0.0.1:4566").secure


def test_bodies() -> None:
    plain, of_csv, raw = (parse(f"sagemaker://e?region=eu-west-1{more}") for more in ("", "&body=csv", "&body=bytes"))
    assert (plain.form.body, plain.form.content_type, plain.accept) == (None, "application/json", "application/json")
    assert (of_csv.form.body, of_csv.form.content_type, of_csv.accept) == ("csv", "text/csv", "text/csv")
    assert (raw.form.body, raw.form.content_type, raw.accept) == ("bytes", "application/octet-stream", "application/json")
    given = parse("sagemaker://e?region=eu-west-1&body=csv&accept=application/json&content_type=text/csv;%20label_size=0")
    assert (given.form.content_type, given.accept) == ("text/csv; label_size=0", "application/json")


@pytest.mark.parametrize(
    ("uri", "mistake"),
    [
        ("sagemaker://e", "the region is missing"),
        ("sagemaker://e?region=Europe", "region=Europe: can't be a region"),
        ("sagemaker://?region=eu-west-1", "nothing can't be the name of the endpoint"),
        ("sagemaker://a/b?region=eu-west-1", "a/b can't be the name of the endpoint"),
        ("sagemaker://e?region=eu-west-1&variant=-a", "-a can't be the name of the variant"),
        ("sagemaker://e?region=eu-west-1&component=a_b", "a_b can't be the name of the component"),
        ("sagemaker://e?region=eu-west-1&body=multipart", "body=multipart: must be csv or bytes"),
        ("sagemaker://e?region=eu-west-1&accept=a%0Ab", "accept has characters that no header has"),
        ("sagemaker://e?region=eu-west-1&content_type=%C3%A4", "content_type has characters that no header has"),
        ("sagemaker://e?region=eu-west-1&region=eu-west-2", "region is given twice"),
        ("sagemaker://e?region=eu-west-1&variant=", "variant has no value"),
        ("sagemaker://e?region=eu-west-1&profile=p", "unknown parameter profile"),
        ("sagemaker://e?region=eu-west-1&endpoint=127.0.0.1:1", "endpoint must be http://HOST"),
        ("sagemaker://e?region=eu-west-1&endpoint=http://h/path", "endpoint must be http://HOST"),
        ("sagemaker://e?region=eu-west-1&endpoint=http://h:0", "endpoint must be http://HOST"),
        ("sagemaker://e?region=eu-west-1&endpoint=http://user:word@h", "must not hold a user name or password"),
    ],
)
def test_mistakes(uri: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(uri)
    assert any(mistake in told for told in caught.value.mistakes), caught.value.mistakes
    assert "word" not in str(caught.value).replace("password", "")
