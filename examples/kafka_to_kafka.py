"""Kafka to Kafka, exactly once, with a custom step in between: ``python -m pipeline`` rebuilt from the public transforms.

    python -m examples.kafka_to_kafka --bootstrap_servers=127.0.0.1:9092 --model=grpc://127.0.0.1:8500/fraud
        --input_topic=orders --output_topic=orders.scored --max_records=1000

The outputs, dead letters and source offsets of a bundle are committed in one Kafka transaction. This needs three things:
source and sink have the same ``KafkaConfig``; every record read gives exactly one record written; and no transform in
between regroups the elements (no GroupByKey, Reshuffle or Flatten).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from transforms import (
    Encode,
    FailedElement,
    Failure,
    KafkaConfig,
    KafkaRecord,
    Predict,
    Prediction,
    ReadFromKafka,
    SessionGuard,
    WriteToKafka,
)

Outcome = Prediction | FailedElement

DRAIN_S = 60.0
"""Seconds that a hold may go on after a signal to drain. During a hold the process keeps its partitions."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the pipeline until ``--max_records`` records are answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap_servers", required=True, help="host:port of Kafka")
    parser.add_argument("--input_topic", required=True, help="where records come from")
    parser.add_argument("--output_topic", required=True, help="where predictions go; dead letters go to <this>.dead-letter")
    parser.add_argument("--model", required=True, help="the model's URI")
    parser.add_argument("--group_id", default="kafka-to-kafka", help="its committed offsets are the checkpoint")
    parser.add_argument("--max_records", type=int, help="stop after so many records; for ever if left out")
    flags, beam_args = parser.parse_known_args(argv)

    kafka = KafkaConfig(flags.bootstrap_servers, (flags.input_topic,), flags.group_id, one_outcome_each=True)

    # FnApiRunner itself: --runner=DirectRunner would first try to download Prism.
    with beam.Pipeline(FnApiRunner(), argv=[*beam_args, "--streaming"]) as pipeline:
        _ = (
            pipeline
            | ReadFromKafka(config=kafka, max_num_records=flags.max_records)
            | Predict(flags.model, on_unavailable="hold", guard=SessionGuard(kafka, DRAIN_S))
            | "Sure" >> beam.Map(sure_enough)
            | Encode(flags.output_topic)
            | WriteToKafka(kafka)
        )


def sure_enough(outcome: Outcome) -> Outcome:
    """The custom step: records with ``"draft": true`` become dead letters instead of predictions."""
    if isinstance(outcome, Prediction) and is_draft(outcome.element):
        return FailedElement(outcome.element, Failure("predict", "Draft", "the record is a draft", outcome.attempts))
    return outcome


def is_draft(record: KafkaRecord) -> bool:
    """Whether the record has ``"draft": true``."""
    document: Any = json.loads(record.value or b"null")
    return isinstance(document, dict) and document.get("draft") is True


if __name__ == "__main__":
    main()
