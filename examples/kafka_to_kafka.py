"""Kafka to Kafka with a step of one's own between, exactly once: what ``python -m pipeline`` does, from its public parts.

    python -m examples.kafka_to_kafka --bootstrap_servers=127.0.0.1:9092 --model=grpc://127.0.0.1:8500/fraud
        --input_topic=orders --output_topic=orders.scored --max_records=1000

Outputs, dead letters and the offsets of what was read commit together, in one Kafka transaction a bundle. It rests on three
things: source and sink are given the same ``KafkaConfig``, every record that was read comes out as one that is written, and
nothing between the two regroups the elements (no GroupByKey, Reshuffle or Flatten).
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
"""With the model server down it holds, and keeps its partitions. Asked to stop meanwhile, it gives up after this."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the pipeline until so many records are answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap_servers", required=True, help="host:port of Kafka")
    parser.add_argument("--input_topic", required=True, help="where records come from")
    parser.add_argument("--output_topic", required=True, help="where predictions go; dead letters go to <this>.dead-letter")
    parser.add_argument("--model", required=True, help="the model's URI")
    parser.add_argument("--group_id", default="kafka-to-kafka", help="its committed offsets are the checkpoint")
    parser.add_argument("--max_records", type=int, help="stop after so many records; for ever if left out")
    flags, beam_args = parser.parse_known_args(argv)

    kafka = KafkaConfig(flags.bootstrap_servers, (flags.input_topic,), flags.group_id, one_outcome_each=True)

    # FnApiRunner itself: --runner=DirectRunner would first try to download another engine.
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
    """A step of one's own: predictions of a record marked ``"draft": true`` go to the dead letters instead."""
    if isinstance(outcome, Prediction) and is_draft(outcome.element):
        return FailedElement(outcome.element, Failure("predict", "Draft", "the record is a draft", outcome.attempts))
    return outcome


def is_draft(record: KafkaRecord) -> bool:
    """Whether the record says so."""
    document: Any = json.loads(record.value or b"null")
    return isinstance(document, dict) and document.get("draft") is True


if __name__ == "__main__":
    main()
