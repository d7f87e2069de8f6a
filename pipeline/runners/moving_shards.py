"""How many shards a job with ``--kafka_io=native`` has where the runner moves them between its workers.

That is Dataflow, and any runner of which nothing is known but its job server. A shard is a key; the runner processes each
key in one worker at a time, and places keys by a hash of its own. So there are more shards than workers, or some workers
would have several and others none. No shard is without a partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.cli.beam_values import beam_value
from transforms.kafka.config import Partition
from transforms.kafka.native.shards import MovingShards

A_WORKER = 4
"""Shards for each worker that the job may have."""

MOST_UNASKED = 32
"""The most shards where ``--max_num_workers`` does not say how many workers there may be. Each is a consumer and a
transactional producer."""


def shards(partitions: Iterable[Partition], beam_args: Sequence[str]) -> MovingShards:
    """Returns the shards of a job.

    Args:
        partitions: Of all input topics. Those of the same number, of whatever topic, belong to one shard.
        beam_args: Beam's own options.
    """
    numbers = {number for _, number in partitions}
    workers = beam_value(beam_args, "max_num_workers")
    wanted = A_WORKER * int(workers) if workers is not None and workers.isdecimal() else MOST_UNASKED
    return MovingShards(max(1, min(len(numbers), wanted)))
