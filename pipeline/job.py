"""``Job``: everything that a worker needs to run the graph."""

from __future__ import annotations

import dataclasses

from pipeline.telemetry.settings import OFF, Telemetry
from transforms.kafka.config import JavaKafka, KafkaConfig
from transforms.kafka.stop import StopConditions
from transforms.predict.dofn import PredictConfig
from transforms.stages import DecodeConfig, EncodeConfig


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """Everything that a worker needs to run the graph. ``launch.py`` makes it after all checks have passed.

    Attributes:
        java: Options of Beam's Java transforms; ``None`` for ``--kafka_io=native``.
        telemetry: What is exported by OpenTelemetry.
    """

    kafka: KafkaConfig
    stop: StopConditions
    decode: DecodeConfig
    predict: PredictConfig
    encode: EncodeConfig
    java: JavaKafka | None = None
    telemetry: Telemetry = OFF
