"""The first offsets that are committed for Beam's Java source."""

from __future__ import annotations

import confluent_kafka as ck

from transforms.kafka.admin.checks import first_offsets


def test_in_place_of_a_former_topics_offset_they_do_not_name_that_topic() -> None:
    former = ck.TopicPartition("in", 0, ck.OFFSET_INVALID, "read by g-1 | of a@c | started from latest")
    made = first_offsets([former, ck.TopicPartition("in", 1, 5, "of b@c")], lambda _: 3)
    assert [(tp.partition, tp.offset, tp.metadata) for tp in made] == [(0, 3, "read by g-1 | started from latest")]
