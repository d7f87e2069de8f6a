"""URIs in messages: whatever is wrong with one, no secret in it is shown."""

from __future__ import annotations

import pytest

from transforms.clients.registry import parse
from transforms.clients.uri import shown
from transforms.errors import ConfigError

SECRET = "planted-3f0c"


@pytest.mark.parametrize(
    "uri",
    [
        f"http://u:{SECRET}@h:1/v1/models/m",
        f"grpc://{SECRET}@h:1/m",
        f"oip+http://u:{SECRET}@h:1/m",
        f"mms+http://u:{SECRET}@h:1/m",
        f"mms+http://h:1/m?management=u:{SECRET}@h:2",
        f"saved_model://u:{SECRET}@h/x",
        f"vertex://p/europe-west4/e?api_endpoint=u:{SECRET}@h",
        f"vertex://p/europe-west4/e?private=http://u:{SECRET}@h/v1:predict",
        f"vertex://p/europe-west4/e?access_token={SECRET}",
        f"http://h:1/v1/models/m?api_key={SECRET}",
        f"nobody://u:{SECRET}@h/m",
        f"u:{SECRET}@h:1",
    ],
)
def test_no_secret_is_shown(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(uri)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "grpc://h:1/m@3",
        "http://h:1/v1/models/m/labels/a@b?signature=s",
        "saved_model:///models/a@b:c@1?tags=serve",
        "saved_model://gs://bucket/a:b@1",
        "vertex://p/europe-west4/e?private=http://h:1/x",
    ],
)
def test_what_is_no_secret_is_shown(uri: str) -> None:
    assert shown(uri) == uri
