"""Kafka → multi-model-server, TorchServe and KServe, the real ones → Kafka: exactly once, with rows that they can't take."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.servers.kserve_v1 import kserve_v1
from tests.servers.multi_model_server import MODEL, multi_model_server
from tests.servers.torchserve import torchserve

ROWS = 400
POISON = {0: "ServerError", 150: "ServerError"}  # the first one, too: nothing was answered before it
WRONG = {77: "Rejected", 301: "Rejected", 5: "JsonError", 399: "Tombstone"}


@contextlib.contextmanager
def multi_model_server_uri() -> Iterator[str]:
    with multi_model_server() as server:
        yield f"mms+http://{server.inference}/{MODEL}?management={server.management}"


@contextlib.contextmanager
def torchserve_uri() -> Iterator[str]:
    with torchserve(batch_size=8) as server:
        yield f"mms+http://{server.inference}/{MODEL}?management={server.management}"


@contextlib.contextmanager
def kserve_uri() -> Iterator[str]:
    with kserve_v1() as address:
        yield f"http://{address}/v1/models/{MODEL}"


def value_of(n: int) -> bytes | None:
    if n == 399:
        return None
    if n in POISON:
        return b"[-999, 0, 0, 0]"
    return {77: b"[1, 2]", 301: b"[1]", 5: b"{bad"}.get(n, b"[%d, 0, 0, 1]" % n)


SERVERS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[str]], bytes]] = {
    "multi_model_server": (multi_model_server_uri, b"1.0"),
    "torchserve": (torchserve_uri, b"1.0"),
    "kserve": (kserve_uri, b""),
}
"""How to run each, and the version that its answers name."""


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, bytes]]:
    serve, version = SERVERS[request.param]
    with serve() as uri:
        yield uri, version


def test_every_record_is_answered_once(new_job: NewJob, served: tuple[str, bytes]) -> None:
    uri, version = served
    job = new_job(uri, partitions=2, flags=("--retry_deadline_s=2",))
    keys = [b"%d" % n for n in range(ROWS)]
    topics.produce(job.bootstrap, job.inputs[0], [value_of(n) for n in range(ROWS)], keys=keys, partitions=[0] * ROWS)
    summary = job.run("--until_end").summary
    assert job.report().ok, job.report()
    classes = {**POISON, **WRONG}
    letters = {record.key: dict(record.headers)["inference.error.class"] for record in job.dead_letters()}
    assert letters == {b"%d" % n: name.encode() for n, name in classes.items()}
    predictions = job.predictions()
    for record in predictions:
        assert json.loads(record.value or b"") == {"predictions": [0.5 * int(record.key or b"") + 2, 2.0, 2.0, 2.5]}
        assert dict(record.headers)["inference.version"] == version
    assert len(predictions) == summary["predictions"] == ROWS - len(classes)
