"""Upgrades of a model while a job runs, as docs/how-to/upgrade-a-model.md tells them, with what the headers say."""

from __future__ import annotations

import collections
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from tests.integration.conftest import NewJob
from tests.integration.process import Job, Scoring, wait_until
from tests.pipeline.embedded.servers import KINDS_DIR, model_server


def install(model: Path, version: int) -> None:
    """As one should: copied beside, and moved when it is whole."""
    incoming = model.with_name("incoming")
    shutil.copytree(KINDS_DIR / "1", incoming)
    model.mkdir(exist_ok=True)
    incoming.rename(model / str(version))


def answered_by(job: Job) -> collections.Counter[str]:
    return collections.Counter((dict(record.headers)["inference.version"] or b"").decode() for record in job.predictions())


def until_answered_by(version: str, job: Job, process: Scoring) -> None:
    before = answered_by(job)[version]

    def produce_and_look() -> bool:
        job.produce(range(20))
        return answered_by(job)[version] > before

    wait_until(produce_and_look, f"an answer of version {version}", 60, process)


def whole(job: Job, process: Scoring) -> None:
    process.terminate()
    process.done()
    job.run("--until_end")
    assert job.report().ok, job.report()
    assert job.dead_letters() == []


def test_a_new_version_and_back_again(new_job: NewJob, tmp_path: Path) -> None:
    """A URI without a version follows the newest one; no restart, nothing lost or doubled."""
    model = tmp_path / "sums"
    install(model, 7)
    with model_server({"sums": model}, poll_s=0.2) as served:
        job = new_job(f"grpc://127.0.0.1:{served.grpc_port}/sums?signature=ragged", partitions=2)
        process = job.start()
        until_answered_by("7", job, process)
        install(model, 8)
        until_answered_by("8", job, process)
        shutil.rmtree(model / "8")
        until_answered_by("7", job, process)
        whole(job, process)
        assert set(answered_by(job)) == {"7", "8"}


def test_a_pinned_version_stays_and_a_label_moves(new_job: NewJob, tmp_path: Path) -> None:
    """The embedded server reads labels at its start, so it is started anew; the job waits for it."""
    model = tmp_path / "sums"
    install(model, 7)
    install(model, 8)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    uri: Callable[[str], str] = f"grpc://127.0.0.1:{port}/sums@{{}}?signature=ragged".format
    labelled, pinned = new_job(uri("stable")), new_job(uri("7"))
    with model_server({"sums": model}, labels={("sums", "stable"): 7}, all_versions=True, grpc_port=port):
        process = labelled.start()
        until_answered_by("7", labelled, process)
        pinned.produce(range(20))
        pinned.run("--until_end")
    with model_server({"sums": model}, labels={("sums", "stable"): 8}, all_versions=True, grpc_port=port):
        until_answered_by("8", labelled, process)
        pinned.produce(range(20))
        pinned.run("--until_end")
        whole(labelled, process)
    assert answered_by(pinned) == {"7": 40}
    assert set(answered_by(labelled)) == {"7", "8"}
