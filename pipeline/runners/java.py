"""``--kafka_io=beam``: what the graph has to know of Java, and the expansion service while the job is there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pipeline.cli.config import Config
from pipeline.cli.names import DATAFLOW
from transforms.kafka.admin.checks import Topics
from transforms.kafka.beam.expansion.service import expansion_service
from transforms.kafka.config import JavaKafka


@contextlib.contextmanager
def java_kafka(config: Config, topics: Topics, say: Callable[[str], None]) -> Iterator[JavaKafka]:
    """Yields the options of the Java transforms. Runs an expansion service for the block, unless a flag names one.

    Raises:
        ContractError: Java is not installed, or the service does not start.
    """
    with contextlib.ExitStack() as stack:
        address = config.expansion_service
        if address is None:
            say("starting Beam's expansion service (Java) …")
            address = stack.enter_context(expansion_service(config.workers_are_here, say))
        yield JavaKafka(
            address,
            commit_offsets=config.runner == DATAFLOW,  # Prism and FnApiRunner refuse it
            partitions=topics.outputs,
            workers_are_here=config.workers_are_here,
        )
