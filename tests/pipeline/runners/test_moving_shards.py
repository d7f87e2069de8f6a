"""How many shards a job has where the runner moves them: by its partitions, and by its workers."""

from __future__ import annotations

import pytest

from pipeline.runners.moving_shards import A_WORKER, MOST_UNASKED, shards


@pytest.mark.parametrize(
    ("partitions", "workers", "count"),
    [(12, None, 12), (200, None, MOST_UNASKED), (200, 3, 3 * A_WORKER), (5, 3, 5), (200, 100, 200), (0, 3, 1)],
)
def test_no_more_than_partitions_and_some_for_each_worker(partitions: int, workers: int | None, count: int) -> None:
    flags = () if workers is None else (f"--max_num_workers={workers}",)
    assert shards([("in", number) for number in range(partitions)], flags).count == count


def test_partitions_of_one_number_are_of_one_shard() -> None:
    assert shards([(topic, number) for topic in ("a", "b") for number in range(3)], ()).count == 3
