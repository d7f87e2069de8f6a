"""What the tests of the flags share."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pipeline.cli import options
from pipeline.cli.config import Config
from transforms.errors import ConfigError

DATAFLOW = (
    "--runner=DataflowRunner",
    "--project=demo-project",
    "--region=europe-west1",
    "--temp_location=gs://bucket/temp",
    "--sdk_container_image=host/p/worker:1",
)

OWN = ("--bootstrap_servers=h:9092", "--input_topic=in", "--output_topic=out", "--model=grpc://h:8500/m")


def parse(*argv: str, environ: Mapping[str, str] | None = None) -> Config:
    return options.parse(argv, environ or {})


def mistakes(*argv: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(*argv, environ=environ)
    return list(caught.value.mistakes)


def mistake(*argv: str, environ: Mapping[str, str] | None = None) -> str:
    [only] = mistakes(*OWN, *argv, environ=environ)
    return only
