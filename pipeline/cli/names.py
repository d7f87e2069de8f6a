"""Names that several flags and modules share: runners, implementations of Kafka, and the word for the demo's own parts."""

from __future__ import annotations

EMBEDDED = "embedded"

DIRECT = ("DirectRunner", "FnApiRunner")
PRISM = "PrismRunner"
FLINK = "FlinkRunner"
PORTABLE = "PortableRunner"
DATAFLOW = "DataflowRunner"

NATIVE = "native"
BEAM = "beam"
AUTO = "auto"

EXACTLY_ONCE = "exactly_once"
AT_LEAST_ONCE = "at_least_once"
