"""A secret in the wrong place of the command line is not repeated by the message that refuses it."""

from __future__ import annotations

import pytest

from tests.pipeline.cli.parsing import OWN, mistakes

SECRET = "planted-1b7e"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((f"--bootstrap_servers=u:{SECRET}@h:1",), "--bootstrap_servers: give HOST:PORT alone; a login is sasl.username"),
        ((f"--model=saved_model://u:{SECRET}@h/x",), "must be absolute"),
        ((f"--model=http://u:{SECRET}@h:1/v1/models/m",), "must not hold a user name or password"),
        ((f"--schema_registry=http://u:{SECRET}@h:1", "--input_format=avro"), "credentials do not belong into the URL"),
        (("--kafka_config=sasl.password=my", SECRET), "a word belongs to no flag"),
        (("--kafka_config=sasl.password=my", SECRET, SECRET), "2 words belong to no flag"),
        (("--kafka_config", f"sasl.password {SECRET}"), "--kafka_config: give NAME=VALUE"),
        ((f"--model_header=authorization: Bearer {SECRET}=",), "--model_header: give NAME=VALUE, not NAME: VALUE"),
    ],
)
def test_a_secret_in_the_wrong_place(flags: tuple[str, ...], says: str) -> None:
    names = {flag.partition("=")[0] for flag in flags}
    found = mistakes(*(flag for flag in OWN if flag.partition("=")[0] not in names), *flags)
    assert [text for text in found if says in text], found
    assert SECRET not in "\n".join(found)
