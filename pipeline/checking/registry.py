"""Checks that the schema registry answers, before anything is consumed."""

from __future__ import annotations

import contextlib

from pipeline.checking.waiting import StartWait
from pipeline.cli.config import Config
from transforms.errors import CertificateError, ContractError, NotReadyError, NotServedError, TransientError
from transforms.formats.readers import FRAMED


def check_registry(config: Config, waiting: StartWait) -> None:
    """Asks the schema registry until it answers or the wait is over, if the job needs its schemas.

    Raises:
        NotReadyError: It does not answer.
        ContractError: It refuses us, or TLS failed.
    """
    registry = config.formats.registry
    if registry is None or config.input_format not in FRAMED:
        return
    from transforms.formats.registry import Registry

    with contextlib.closing(Registry(registry)) as client:

        def ask(_: float) -> None:
            try:
                client.check()
            except CertificateError as error:
                raise ContractError(f"--schema_registry: {error}") from error
            except TransientError as error:
                raise NotReadyError(f"--schema_registry: {error}") from error
            except NotServedError as error:
                raise ContractError(f"--schema_registry: {error}") from error

        waiting.until_there("the schema registry", ask)
