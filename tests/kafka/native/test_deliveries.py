"""``Deliveries``: which output a report of librdkafka is about, over bundles and after what was in flight was given up."""

from __future__ import annotations

import confluent_kafka as ck

from transforms.kafka.native.deliveries import Deliveries
from transforms.types import OutputRecord

REFUSED = ck.KafkaError(ck.KafkaError.INVALID_RECORD)


def _output(offset: int) -> OutputRecord:
    return OutputRecord("out", None, b"the same value", [], 1, ("in", 0, offset), None)


def test_the_callbacks_of_a_delivered_bundle_are_used_again_for_the_next_outputs() -> None:
    deliveries = Deliveries()
    first = [*deliveries.expect([_output(0)]), *deliveries.expect([_output(1), _output(2)])]
    for report in first:
        report(None, None)
    deliveries.delivered()
    second = deliveries.expect([_output(3), _output(4)])
    assert list(second) == first[:2]
    second[1](REFUSED, None)
    assert [refusal.record for refusal in deliveries.refused] == [_output(4)]


def test_a_report_that_comes_late_is_about_its_own_output() -> None:
    """A bundle is given up while its outputs are in flight, and the next one's follow."""
    deliveries = Deliveries()
    (late,) = deliveries.expect([_output(0)])
    deliveries.clear()
    (early,) = deliveries.expect([_output(1)])
    early(None, None)
    late(REFUSED, None)
    assert [refusal.record for refusal in deliveries.refused] == [_output(0)]
