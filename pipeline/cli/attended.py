"""``AttendedConfig``: the flags of commands that a person has started and looks at, which wait for nobody unless told to."""

from __future__ import annotations

import dataclasses

from pipeline.cli.config import Config
from pipeline.cli.flag import flag
from pipeline.cli.flags import REQUESTS
from pipeline.cli.kinds.plain import seconds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AttendedConfig(Config):
    """A job's configuration, for a command beside the job."""

    wait_for_start_s: float = flag(
        REQUESTS,
        seconds(or_0=True),
        "how long to wait for Kafka, the model server and the schema registry if they are not there yet",
        default="0",
    )
