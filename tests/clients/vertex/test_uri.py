"""Vertex AI's model URIs: hosts, limits, and every mistake told at once."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from transforms.clients import check_uri
from transforms.clients.vertex.uri import VertexAddress, parse
from transforms.errors import ConfigError

BASE = "vertex://my-project/europe-west4/1234567890"
PRIVATE = "http://1234567890.aiplatform.googleapis.com/v1/models/42:predict"


@pytest.mark.parametrize(
    ("query", "url", "secure", "limit"),
    [
        ("", "https://europe-west4-aiplatform.googleapis.com:443/v1/{name}:predict", True, 1_572_864),
        ("?dedicated=1.europe-west4-9.prediction.vertexai.goog",
         "https://1.europe-west4-9.prediction.vertexai.goog:443/v1/{name}:predict", True, 10_000_000),
        ("?dedicated=10.1.2.3", "https://10.1.2.3:443/v1/{name}:predict", True, 10_000_000),
        (f"?private={quote(PRIVATE, safe='')}", PRIVATE, False, 10_000_000),
        ("?api_endpoint=europe-west4-aiplatform-x.p.googleapis.com",
         "https://europe-west4-aiplatform-x.p.googleapis.com:443/v1/{name}:predict", True, 1_572_864),
        ("?api_endpoint=127.0.0.1:8080", "http://127.0.0.1:8080/v1/{name}:predict", False, 1_572_864),
        ("?api_endpoint=localhost:8080", "http://localhost:8080/v1/{name}:predict", False, 1_572_864),
        ("?api_endpoint=[::1]:8080", "http://[::1]:8080/v1/{name}:predict", False, 1_572_864),
        ("?api_endpoint=http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/{name}:predict", False, 1_572_864),
        ("?api_endpoint=https://127.0.0.1:8080", "https://127.0.0.1:8080/v1/{name}:predict", True, 1_572_864),
        ("?dedicated=127.0.0.1:8080", "http://127.0.0.1:8080/v1/{name}:predict", False, 10_000_000),
    ],
)  # fmt: skip
def test_whom_to_call(query: str, url: str, secure: bool, limit: int) -> None:
    address = parse(BASE + query)
    assert address.name == "projects/my-project/locations/europe-west4/endpoints/1234567890"
    assert address.predict_url == url.format(name=address.name)
    assert address.secure is secure
    assert address.max_request_bytes == limit
    # no token in plain text, and none to a local server
    assert address.anonymous is ("127.0.0.1" in url or not secure)


def test_transports() -> None:
    assert parse(BASE).transport == "grpc"
    assert parse(BASE + "?transport=rest").transport == "rest"
    assert parse(f"{BASE}?private={quote(PRIVATE, safe='')}").transport == "rest"


def test_the_names_that_google_gives() -> None:
    assert parse("vertex://example.com:my-project/us-central1/mg-endpoint-1a2b").project == "example.com:my-project"
    assert str(parse(BASE)) == "endpoint 1234567890 at europe-west4-aiplatform.googleapis.com:443"


def test_parameters() -> None:
    text = '{"confidenceThreshold": 0.5, "words": ["ä"]}'
    address: VertexAddress = parse(f"{BASE}?parameters={quote(text)}")
    assert address.parameters == r'{"confidenceThreshold": 0.5, "words": ["\u00e4"]}'


@pytest.mark.parametrize(
    ("uri", "mistakes"),
    [
        ("vertex://p/r", ["2 names where PROJECT/REGION/ENDPOINT are expected"]),
        ("vertex://p/r/e/", ["4 names"]),
        ("vertex://", ["1 names", "nothing can't be the project"]),
        ("vertex://user:secret@p/R/e#x", ["user:secret@p can't be the project", "R can't be the region", "e#x can't"]),
        (BASE + "?transport=http", ["transport=http is neither grpc nor rest"]),
        (BASE + "?signature=x&transport=&transport=rest", ["unknown parameter signature", "transport has no value"]),
        (BASE + "?transport=rest&transport=grpc", ["transport is given twice"]),
        (BASE + "?api_endpoint=http://example.com", ["plain text is for this machine only"]),
        (BASE + "?dedicated=http://10.1.2.3", ["plain text is for this machine only"]),
        (BASE + "?api_endpoint=h/path", ["api_endpoint must be HOST or HOST:PORT"]),
        (BASE + "?api_endpoint=h:0", ["api_endpoint must be"]),
        (BASE + "?api_endpoint=h:x", ["api_endpoint must be"]),
        (BASE + "?api_endpoint=ftp://h", ["api_endpoint must be"]),
        (BASE + "?api_endpoint=u:p@h", ["api_endpoint must be"]),
        (BASE + "?api_endpoint=a&dedicated=b", ["dedicated and api_endpoint exclude each other"]),
        (BASE + "?private=10.1.2.3", ["private must be the endpoint's predictHttpUri"]),
        (f"{BASE}?transport=grpc&private={quote(PRIVATE)}", ["a private endpoint is called over REST"]),
        (BASE + "?parameters={", ["parameters is no JSON"]),
        (BASE + "?parameters=[NaN]", ["NaN is no JSON"]),
        (BASE + "?parameters=" + "[" * 100_000, ["parameters is no JSON"]),
        (BASE + "?parameters=x&transport=y&api_endpoint=u@h", ["api_endpoint must", "transport=y", "parameters is no"]),
    ],
)
def test_mistakes(uri: str, mistakes: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(uri)
    for mistake in mistakes:
        assert any(mistake in told for told in caught.value.mistakes), mistake
    for told in caught.value.mistakes:
        assert re.match("--model=", told)
        assert "the form is vertex://PROJECT/REGION/ENDPOINT" in told
