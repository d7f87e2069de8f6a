"""Which sinks this process has: without one, a source would read the same records again and again, and commit none."""

from __future__ import annotations

from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig

MISSING = (
    "ReadFromKafka without WriteToKafka: what is read would never be committed, and so be read again and again; end the "
    "pipeline in WriteToKafka(config), with the config that ReadFromKafka(config=config) has, and without GroupByKey, "
    "Reshuffle or Flatten between the two, so that both are in one stage; or leave out chunks and shards: then "
    "ReadFromKafka commits by itself what the runner has finalised"
)

_here: set[KafkaConfig] = set()


def note_sink(config: KafkaConfig) -> None:
    """Notes that a sink of a job is in this process. A stage's DoFns are all set up before any of them has work."""
    _here.add(config)


def require_sink(config: KafkaConfig) -> None:
    """Makes sure that what a source reads can be committed.

    Raises:
        KafkaError: No sink of the job is in this process.
    """
    if config not in _here:
        raise KafkaError(MISSING)
