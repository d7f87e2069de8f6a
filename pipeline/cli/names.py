"""Names that several flags and modules share: runners, implementations of Kafka, and the word for the demo's own parts."""

from __future__ import annotations

EMBEDDED = "embedded"

DIRECT = ("DirectRunner", "FnApiRunner")
PRISM = "PrismRunner"
FLINK = "FlinkRunner"
PORTABLE = "PortableRunner"
DATAFLOW = "DataflowRunner"
RUNNERS = (*DIRECT, PRISM, FLINK, PORTABLE, DATAFLOW)

NATIVE = "native"
BEAM = "beam"
AUTO = "auto"

WORKERS_TO_FIT = 0
"""What ``--workers=auto`` is until partitions and cores are known."""

DEFAULT_GROUP = "kafka-model-scoring"

EXACTLY_ONCE = "exactly_once"
AT_LEAST_ONCE = "at_least_once"

REGISTER = "register"
REQUIRE = "require"

TOPIC = "topic"
RECORD = "record"
TOPIC_RECORD = "topic_record"

RECORD_NAME = "inference.Prediction"
"""The name of the record in the schema of predictions."""
