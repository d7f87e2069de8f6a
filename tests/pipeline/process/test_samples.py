"""The last outputs of all workers: which are kept, and that none is read half."""

from __future__ import annotations

from pathlib import Path

from pipeline.process.samples import (
    AT_ONCE,
    DEAD_LETTERS,
    INTERVAL_S,
    PREDICTIONS,
    Sampler,
    Samples,
    make,
    sampler,
)
from pipeline.process.stats import WorkerStats
from transforms.dead_letter import dead_letter
from transforms.headers import ATTEMPTS, LATENCY, VERSION
from transforms.types import Failure, Headers, KafkaRecord, OutputRecord


def prediction(offset: int, value: bytes = b'{"label":7}', key: bytes | None = b"k") -> OutputRecord:
    headers: Headers = [(VERSION, b"3"), (LATENCY, b"4.1"), (ATTEMPTS, b"1")]
    return OutputRecord("out", key, value, headers, 5, ("in", 0, offset), None)


def dead(offset: int, message: str = "no", value: bytes = b"secret") -> OutputRecord:
    record = KafkaRecord("in", 0, offset, 5, None, value, [])
    return dead_letter(record, Failure("decode", "Tombstone", message), "out.dead-letter")


def test_what_is_kept_of_an_output(tmp_path: Path) -> None:
    path = make(tmp_path, 1)
    Sampler(path, 0).take([prediction(4), dead(5, "it is <b>null</b>")])
    [shown], [letter] = Samples(path).latest()
    assert (shown.source, shown.key, shown.value, shown.stage) == (("in", 0, 4), "k", '{"label":7}', None)
    assert (shown.version, shown.latency_ms, shown.attempts) == ("3", "4.1", "1")
    assert (letter.source, letter.key, letter.stage, letter.error_class) == (("in", 0, 5), None, "decode", "Tombstone")
    assert letter.message == "it is <b>null</b>"
    assert letter.value == "", "a dead letter's value is the input's, which is not shown"


def test_the_last_ones_of_all_workers_are_kept_the_newest_first(tmp_path: Path) -> None:
    path = make(tmp_path, 2)
    now = 0.0
    workers = [Sampler(path, index, lambda: now) for index in range(2)]
    for offset in range(100):
        now += INTERVAL_S
        workers[offset % 2].take([prediction(offset), dead(1000 + offset)])
    predictions, letters = Samples(path).latest()
    assert [sample.source[2] for sample in predictions] == list(range(99, 99 - PREDICTIONS, -1))
    assert [sample.source[2] for sample in letters] == list(range(1099, 1099 - DEAD_LETTERS, -1))


def test_a_few_predictions_a_second_are_enough_and_every_dead_letter_counts(tmp_path: Path) -> None:
    path = make(tmp_path, 1)
    now = 0.0
    worker = Sampler(path, 0, lambda: now)
    worker.take([prediction(offset) for offset in range(10)])
    worker.take([prediction(10), dead(11)])  # within the same second
    predictions, letters = Samples(path).latest()
    assert [sample.source[2] for sample in predictions] == list(range(9, 9 - AT_ONCE, -1))
    assert [sample.source[2] for sample in letters] == [11]
    now += INTERVAL_S
    worker.take([prediction(12)])
    assert Samples(path).latest()[0][0].source[2] == 12


def test_a_worker_that_is_started_again_goes_on(tmp_path: Path) -> None:
    path = make(tmp_path, 1)
    for offset in range(3):  # a process each
        Sampler(path, 0).take([prediction(offset), dead(10 + offset)])
    predictions, letters = Samples(path).latest()
    assert [sample.source[2] for sample in predictions] == [2, 1, 0]
    assert [sample.source[2] for sample in letters] == [12, 11, 10]


def test_the_longest_texts_have_room_and_do_not_reach_into_the_next_slot(tmp_path: Path) -> None:
    path = make(tmp_path, 1)
    worker = Sampler(path, 0)
    worker.take([dead(offset, "\U0001f600\x00" * 5000) for offset in range(DEAD_LETTERS)])
    wide = '\U0001f600"\\'.encode() * 5000
    worker.take([prediction(offset, wide, wide) for offset in range(AT_ONCE)])
    predictions, letters = Samples(path).latest()
    assert (len(predictions), len(letters)) == (AT_ONCE, DEAD_LETTERS)
    assert predictions[0].value.endswith("…")


def test_bytes_that_are_no_text_and_control_characters_are_shown_as_such(tmp_path: Path) -> None:
    path = make(tmp_path, 1)
    Sampler(path, 0).take([prediction(0, b"\xff\x1b[2J\xe2\x80\xae", b"\xff\n")])
    [shown], _ = Samples(path).latest()
    assert (shown.value, shown.key) == ("\N{REPLACEMENT CHARACTER}\\x1b[2J\\u202e", "\N{REPLACEMENT CHARACTER}\\n")


def test_a_slot_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = make(tmp_path, 1)
    Sampler(path, 0).take([prediction(0), prediction(1)])
    whole = path.read_bytes()
    torn = whole.replace(b'{"at":', b'{"aT":', 1)
    assert torn != whole
    path.write_bytes(torn)
    assert len(Samples(path).latest()[0]) == 1


def test_nothing_is_sampled_unless_somebody_may_look(tmp_path: Path) -> None:
    assert sampler(None, 0) is None
    assert sampler(tmp_path / "stats", 0) is None
    WorkerStats(tmp_path / "stats").written([prediction(0)])
    assert [path.name for path in tmp_path.iterdir()] == ["stats"]
    path = make(tmp_path, 1)
    WorkerStats(tmp_path / "stats").written([prediction(0)])
    assert len(Samples(path).latest()[0]) == 1
