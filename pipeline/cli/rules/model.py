"""Rules of the model's flags."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.cli.config import Config
from pipeline.cli.flag import Values


def class_names(config: Config, values: Values) -> Iterator[str]:
    """The best classes are written by their names."""
    if "top_k" in values.given and "labels" not in values.given:
        yield "--top_k: needs --labels"


def client_certificate(config: Config, values: Values) -> Iterator[str]:
    """A certificate is of no use without its key."""
    if ("model_cert_file" in values.given) != ("model_key_file" in values.given):
        yield "--model_cert_file and --model_key_file: give both or neither"
