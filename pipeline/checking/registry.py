"""Checks that the schema registry answers, before anything is consumed."""

from __future__ import annotations

import contextlib

from pipeline.cli.config import Config
from transforms.errors import ContractError, NotServedError, TransientError
from transforms.formats.readers import FRAMED


def check_registry(config: Config) -> None:
    """Asks the schema registry once, if the job needs its schemas.

    Raises:
        ContractError: It does not answer, or refuses us.
    """
    registry = config.formats.registry
    if registry is None or config.input_format not in FRAMED:
        return
    from transforms.formats.registry import Registry

    with contextlib.closing(Registry(registry)) as client:
        try:
            client.check()
        except (TransientError, NotServedError) as error:
            raise ContractError(f"--schema_registry: {error}") from error
