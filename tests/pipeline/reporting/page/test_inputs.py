"""The input records of what the page shows: read once, only what is shown, and not for ever in vain."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pipeline.embedded.generator import grey_png
from pipeline.reporting.page.inputs import KEPT, KEPT_BYTES, TRIED, Inputs, Source
from tests.pipeline.reporting.page.serving import Reader, record
from transforms.errors import KafkaError
from transforms.types import KafkaRecord

PNG = grey_png(8, 8)
WAIT_S = 60.0


def sources(*offsets: int) -> list[Source]:
    return [("in", 0, offset) for offset in offsets]


def reader(count: int, value: bytes = PNG) -> Reader:
    return Reader({("in", 0, offset): record(offset, value) for offset in range(count)})


def test_a_record_is_read_once() -> None:
    records = reader(3)
    inputs = Inputs(lambda: records)
    with inputs.reading():
        inputs.want(sources(0, 1), WAIT_S)
        inputs.want(sources(1, 2), WAIT_S)
        assert sorted(records.asked) == sources(0, 1, 2)
        assert all(inputs.picture(source) for source in sources(0, 1, 2))
    assert records.closed


def test_nothing_is_opened_unless_somebody_looks() -> None:
    def never() -> Reader:
        raise AssertionError("opened")

    with Inputs(never).reading():
        pass


def test_what_is_kept_has_a_bound() -> None:
    records = reader(2 * KEPT)
    inputs = Inputs(lambda: records)
    with inputs.reading():
        inputs.want(sources(*range(KEPT)), WAIT_S)
        inputs.want(sources(*range(KEPT, 2 * KEPT)), WAIT_S)
        assert inputs.picture(("in", 0, 0)) is None
        assert inputs.picture(("in", 0, 2 * KEPT - 1)) is not None


def test_large_images_have_a_bound_of_their_own() -> None:
    """A hundred of a megabyte each are not kept in the process that starts the workers."""
    size = 1_000_000
    records = reader(100, PNG + bytes(size - len(PNG)))
    inputs = Inputs(lambda: records)
    with inputs.reading():
        inputs.want(sources(*range(60)), WAIT_S)
        inputs.want(sources(*range(60, 100)), WAIT_S)
        kept = [offset for offset in range(100) if inputs.picture(("in", 0, offset)) is not None]
    assert len(kept) == KEPT_BYTES // size
    assert set(range(60, 100)) <= set(kept), "the latest stay"


def test_a_topic_without_images_is_not_read_for_ever() -> None:
    records = reader(TRIED + 1, b"7")
    inputs = Inputs(lambda: records)
    with inputs.reading():
        inputs.want(sources(*range(TRIED)), WAIT_S)
        inputs.want(sources(TRIED), WAIT_S)
        assert len(records.asked) == TRIED


def test_a_kafka_that_is_away_is_asked_again_with_the_next_look() -> None:
    class Away(Reader):
        def read(self, sources: Collection[Source]) -> Mapping[Source, KafkaRecord]:
            if not self.asked:
                self.asked += sources
                raise KafkaError("no answer")
            return super().read(sources)

    records = Away({("in", 0, 0): record(0, PNG)})
    inputs = Inputs(lambda: records)
    with inputs.reading():
        while inputs.picture(("in", 0, 0)) is None:
            inputs.want(sources(0), 0.05)
    assert records.asked == sources(0, 0)
