"""Rules of what OpenTelemetry exports."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pipeline.cli.config import Config
from pipeline.cli.flag import Values
from pipeline.cli.names import DATAFLOW
from pipeline.telemetry.settings import mistakes


def exported(config: Config, values: Values) -> Iterable[str]:
    """What is asked for by flag or variables is there. On Dataflow the variables are not ours."""
    return () if config.runner == DATAFLOW else mistakes(config.otlp_endpoint, os.environ)
