"""Model URIs of OpenAI-compatible servers."""

from __future__ import annotations

import pytest

from transforms.clients import check_uri
from transforms.clients.openai.uri import parse
from transforms.errors import ConfigError


@pytest.mark.parametrize(
    ("rest", "url", "model"),
    [
        ("http://h:8000/m", "http://h:8000/v1/embeddings", "m"),
        ("https://api.openai.com/text-embedding-3-small", "https://api.openai.com/v1/embeddings", "text-embedding-3-small"),
        ("http://h:8000/v1/BAAI/bge-small-en-v1.5", "http://h:8000/v1/embeddings", "BAAI/bge-small-en-v1.5"),
        ("http://h:8000/BAAI%2Fbge-small", "http://h:8000/v1/embeddings", "BAAI/bge-small"),
        ("http://h/openai/v1/m", "http://h/openai/v1/embeddings", "m"),
        ("https://h/v1beta/openai/gemini-embedding-001", "https://h/v1beta/openai/embeddings", "gemini-embedding-001"),
        ("http://h:11434/nomic-embed-text:latest", "http://h:11434/v1/embeddings", "nomic-embed-text:latest"),
        ("http://[::1]:8000/m", "http://[::1]:8000/v1/embeddings", "m"),
    ],
)
def test_path_and_model(rest: str, url: str, model: str) -> None:
    """Without a path the API is at /v1; behind one that ends with v1 the model's name may have slashes."""
    address = parse(f"openai+{rest}?task=embeddings")
    assert (str(address.url("embeddings")), address.model) == (url, model)


def test_parameters() -> None:
    address = parse('openai+http://h:1/m?task=embeddings&dimensions=256&encoding_format=float&parameters={"user":"kafka"}')
    assert address.parameters == {"dimensions": 256, "encoding_format": "float", "user": "kafka"}


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("h:1/m", "say what is asked of the model, once: task="),
        ("h:1/m?task=images", "say what is asked of the model"),
        ("h:1/m?task=embeddings&task=embeddings", "say what is asked of the model, once"),
        ("h:1/?task=embeddings", "must end with the model's name"),
        ("h:1/a//m?task=embeddings", "must end with the model's name"),
        ("h:1/v1?task=embeddings", "the model's name is missing behind /v1"),
        ("h:1/v1/embeddings?task=embeddings", "leave out /embeddings"),
        ("h:1/m?task=embeddings&dimensions=0", "dimensions=0: must be a whole number of 1 or more"),
        ("h:1/m?task=embeddings&dimensions=x", "dimensions=x: must be a whole number"),
        ("h:1/m?task=embeddings&encoding_format=int8", "must be base64 or float"),
        (
            "h:1/m?task=embeddings&top_k=3",
            'no parameter top_k; it has dimensions, encoding_format, and parameters={"top_k":…}',
        ),
        ("h:1/m?task=embeddings&dimensions=1&dimensions=2", "dimensions takes one value"),
        ("h:1/m?task=embeddings&parameters={", "parameters: is no JSON"),
        ("h:1/m?task=embeddings&parameters=[]", "parameters: must be a JSON object"),
        ('h:1/m?task=embeddings&parameters={"model":"x"}', "parameters: model is written by the client"),
        ('h:1/m?task=embeddings&parameters={"dimensions":3}', "give dimensions by itself"),
        ("/m?task=embeddings", "the host is missing"),
    ],
)
def test_mistakes(rest: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_uri(f"openai+http://{rest}")
    assert said in str(caught.value)
    assert "the form is openai+http://HOST" in str(caught.value)
