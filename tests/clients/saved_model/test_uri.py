"""``saved_model://`` URIs: what they name, and what is said about a wrong one."""

from __future__ import annotations

import pytest

from transforms.clients import check_uri
from transforms.clients.saved_model.uri import SavedModelAddress, parse
from transforms.errors import ConfigError


@pytest.mark.parametrize(
    ("uri", "address", "model"),
    [
        ("saved_model:///models/fraud", SavedModelAddress("/models/fraud"), "fraud"),
        ("saved_model:///models/fraud/", SavedModelAddress("/models/fraud"), "fraud"),
        ("saved_model:///models/fraud/00000007", SavedModelAddress("/models/fraud/00000007"), "fraud"),
        ("saved_model:///123", SavedModelAddress("/123"), "123"),
        ("saved_model:///a%20b/c%3Fd%25", SavedModelAddress("/a b/c?d%"), "c?d%"),
        ("saved_model://gs://bucket/models/fraud", SavedModelAddress("gs://bucket/models/fraud"), "fraud"),
        ("saved_model://hdfs://h:9000/m/", SavedModelAddress("hdfs://h:9000/m"), "m"),
        (
            "saved_model:///m?signature=pixels&version=7&tags=serve,gpu",
            SavedModelAddress("/m", 7, "pixels", ("gpu", "serve")),
            "m",
        ),
    ],
)
def test_what_a_uri_names(uri: str, address: SavedModelAddress, model: str) -> None:
    assert parse(uri) == address
    assert address.model == model


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("saved_model://models/fraud", "must be absolute, with three slashes"),
        ("saved_model://", "must be absolute"),
        ("saved_model:///", "the model's folder is missing"),
        ("saved_model://gs://", "the model's folder is missing"),
        ("saved_model://g s://b/m", "no scheme"),
        ("saved_model://gs://b/*", "wildcards"),
        ("saved_model:///m?version=stable", "a version is a whole number"),
        ("saved_model:///m?version=9223372036854775808", "at most 64 bits"),
        ("saved_model:///m?label=stable", "unknown parameter label"),
        ("saved_model:///m?signature=", "signature takes one value"),
        ("saved_model:///m?version=1&version=2", "version takes one value"),
        ("saved_model:///m?tags=serve,", "a tag is empty"),
        ("saved_model:///m%00", "null character"),
    ],
)
def test_what_is_said_of_a_wrong_one(uri: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        check_uri(uri)
    assert "saved_model:///PATH" in str(caught.value)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri("saved_model://ftp://me:s3cret@host/m")
    assert "s3cret" not in str(caught.value)
