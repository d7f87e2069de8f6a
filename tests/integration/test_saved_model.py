"""Kafka → the model in the worker → Kafka: exactly once, with guilty rows, while versions come and workers share it."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import pytest

from pipeline.embedded.digits import MODEL_DIR, load_digits
from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import wait_until
from tests.pipeline.embedded.servers import KINDS_DIR


@pytest.mark.parametrize("workers", [1, 2])
def test_digits(new_job: NewJob, workers: int) -> None:
    """Images with broken ones among them: the model refuses those, and only those."""
    digits = load_digits()[:600]
    broken = [digits[0].png[:40], b"no image", b"", None]
    job = new_job(f"saved_model://{MODEL_DIR}", partitions=4, flags=(f"--workers={workers}",))
    values: list[bytes | None] = [digit.png for digit in digits]
    keys = [digit.name.encode() for digit in digits]
    for position, value in enumerate(broken):
        values.insert(100 * position + 50, value)
        keys.insert(100 * position + 50, b"broken")
    topics.produce(job.bootstrap, job.inputs[0], values, keys=keys)
    summary = job.run("--until_end").summary
    assert job.report().ok, job.report()
    assert summary["dead_letters_by_class"] == {"Rejected": 2, "EmptyValue": 1, "Tombstone": 1}
    assert [record.key for record in job.dead_letters()] == [b"broken"] * 4
    truth = {digit.name.encode(): digit.label for digit in digits}
    right = 0
    for record in job.predictions():
        headers = dict(record.headers)
        assert (headers["inference.model"], headers["inference.version"]) == (b"model", b"1")
        right += json.loads(record.value or b"")["label"] == truth[record.key or b""]
    assert right >= 0.97 * len(digits)


def test_a_new_version_is_picked_up_while_the_job_runs(new_job: NewJob, tmp_path: Path) -> None:
    """Without a record lost or doubled; a version that is broken, and one with another signature, are only warned of."""
    model = tmp_path / "sums"
    model.mkdir()

    def install(version: int, source: Path) -> None:
        shutil.copytree(source, tmp_path / "incoming")
        (tmp_path / "incoming").rename(model / str(version))

    install(7, KINDS_DIR / "1")
    job = new_job(f"saved_model://{model}?signature=ragged", partitions=2, flags=("--model_poll_s=0.2",))
    process = job.start()
    job.produce(range(500))
    job.wait_for_progress(500, process)
    (model / "9").mkdir()
    (model / "9/saved_model.pb").write_bytes(b"torn")
    install(10, MODEL_DIR / "1")
    process.wait_for_output("version 9 can't be loaded: DATA_LOSS")
    process.wait_for_output("version 10 has another signature ragged than this job was started with")
    install(8, KINDS_DIR / "1")

    def answered_by() -> collections.Counter[bytes | None]:
        return collections.Counter(dict(record.headers)["inference.version"] for record in job.predictions())

    def produce_and_look() -> bool:
        job.produce(range(50))
        return answered_by()[b"8"] > 0

    wait_until(produce_and_look, "answer of version 8", 30, process)
    process.terminate()
    process.done()
    for version in (9, 10):  # a job that starts now would take the newest
        shutil.rmtree(model / str(version))
    job.run("--until_end")
    assert job.report().ok, job.report()
    versions = answered_by()
    assert versions[b"7"] >= 500
    assert set(versions) == {b"7", b"8"}
    assert job.dead_letters() == []
    assert process.stderr.count("not taken: ") == 2


def test_a_model_that_is_not_there_ends_with_2(new_job: NewJob, tmp_path: Path) -> None:
    """Before anything is consumed, and naming what was expected."""
    process = new_job(f"saved_model://{tmp_path}/none").start("--until_end")
    assert process.wait() == 2
    assert f"expected {tmp_path}/none/1/saved_model.pb" in process.stderr
    assert "Traceback" not in process.stderr
