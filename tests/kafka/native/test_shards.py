"""Keys that Flink sends to different subtasks."""

from __future__ import annotations

import pytest

from transforms.kafka.native.shards import Shards, default_max_parallelism, key_group

# By Flink 1.19 itself: KeyGroupRangeAssignment.assignToKeyGroup(ByteBuffer.wrap(varint of the key), 128).
FLINKS_OWN = {0: 123, 1: 36, 2: 29, 3: 125, 100: 43, 127: 113, 128: 52, 129: 103, 300: 98, 20000: 117}


def test_a_key_is_in_the_key_group_that_flink_says() -> None:
    assert {key: key_group(key, 128) for key in FLINKS_OWN} == FLINKS_OWN


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 128, 200])
def test_each_shard_has_a_subtask_of_its_own(count: int) -> None:
    """Shard i is worked on by subtask i, by Flink's rule: key group times parallelism over the number of key groups."""
    shards = Shards(count, default_max_parallelism(count))
    keys = shards.keys()
    assert [key_group(key, shards.max_parallelism) * count // shards.max_parallelism for key in keys] == list(range(count))
    assert len(set(keys)) == count


def test_flinks_number_of_key_groups() -> None:
    """As Flink's documentation has it: 128 at least, else the power of two at or above 1.5 times the parallelism."""
    assert [default_max_parallelism(n) for n in (1, 85, 86, 171, 30_000)] == [128, 128, 256, 256, 32_768]
