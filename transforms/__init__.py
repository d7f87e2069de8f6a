"""Beam transforms that score a Kafka topic with a model server, exactly once.

The names for use in other Beam pipelines can be imported from here:

    from transforms import DeadLetters, Encode, KafkaConfig, Predict, ReadFromKafka, WriteToKafka
    from transforms.handlers import TFServingModelHandler   # for Beam's own RunInference

Each name is loaded at its first use, so importing the package is cheap.

Imports run one way: ``pipeline -> transforms.* -> transforms.clients -> types, errors``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transforms.clients.base import ClientOptions
    from transforms.encode.transform import DeadLetters, Encode
    from transforms.kafka.config import KafkaConfig
    from transforms.kafka.native.rows import KafkaRow, ToRows
    from transforms.kafka.native.session_guard import SessionGuard
    from transforms.kafka.native.sink import WriteToKafka
    from transforms.kafka.native.source import ReadFromKafka
    from transforms.outcomes import FailedElement, Prediction
    from transforms.predict.options import DispatchOptions
    from transforms.predict.transform import Predict
    from transforms.retry import RetryPolicy
    from transforms.types import Failure, KafkaRecord, OutputRecord

_HOMES = {
    "ClientOptions": "transforms.clients.base",
    "DeadLetters": "transforms.encode.transform",
    "DispatchOptions": "transforms.predict.options",
    "Encode": "transforms.encode.transform",
    "FailedElement": "transforms.outcomes",
    "Failure": "transforms.types",
    "KafkaConfig": "transforms.kafka.config",
    "KafkaRecord": "transforms.types",
    "KafkaRow": "transforms.kafka.native.rows",
    "OutputRecord": "transforms.types",
    "Predict": "transforms.predict.transform",
    "Prediction": "transforms.outcomes",
    "ReadFromKafka": "transforms.kafka.native.source",
    "RetryPolicy": "transforms.retry",
    "SessionGuard": "transforms.kafka.native.session_guard",
    "ToRows": "transforms.kafka.native.rows",
    "WriteToKafka": "transforms.kafka.native.sink",
}

__all__ = [
    "ClientOptions",
    "DeadLetters",
    "DispatchOptions",
    "Encode",
    "FailedElement",
    "Failure",
    "KafkaConfig",
    "KafkaRecord",
    "KafkaRow",
    "OutputRecord",
    "Predict",
    "Prediction",
    "ReadFromKafka",
    "RetryPolicy",
    "SessionGuard",
    "ToRows",
    "WriteToKafka",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
