"""``python -m pipeline``: scores a Kafka topic with a model server. For a checkout; elsewhere ``kafka-model-scoring``."""

from __future__ import annotations

from pipeline.console import run

__all__ = ["run"]

if __name__ == "__main__":
    run()
