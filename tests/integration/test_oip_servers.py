"""Kafka → a real server of the Open Inference Protocol → Kafka, exactly once, with records that the model can't take."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.servers.kserve_v2 import kserve_v2
from tests.servers.mlserver import OipServer, mlserver
from tests.servers.triton import triton
from transforms.types import Headers

RECORDS = 400
POISON = {17: b'{"x": [1, 2, 3, -999]}', 203: b"[-999, 0, 0, 0]"}
MISFITS = {44: b'{"x": [1, 2, 3]}', 45: b'{"x": ["a", 2, 3, 4]}'}

SERVERS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[OipServer]], bytes]] = {
    "mlserver": (mlserver, b"3"),
    "triton": (triton, b"1"),
    "kserve": (kserve_v2, b""),
}
"""How to run each, and the version that its answers name."""


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[OipServer, bytes]]:
    run, version = SERVERS[request.param]
    with run() as server:
        yield server, version


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_every_record_is_answered_once(new_job: NewJob, served: tuple[OipServer, bytes], protocol: str) -> None:
    server, version = served
    values = [b'{"x": [%d, 1, 2, 3]}' % number for number in range(RECORDS)]
    for offset, value in (POISON | MISFITS).items():
        values[offset] = value
    job = new_job(server.uri(protocol, "half"), outputs=1, flags=("--retry_deadline_s=0.2",))
    topics.produce(job.bootstrap, job.inputs[0], values, partitions=[0] * RECORDS)
    summary = job.run("--until_end").summary
    assert job.report().ok, job.report()
    failed = {int(_header(record.headers, "inference.source").rpartition("/")[2]): record for record in job.dead_letters()}
    assert failed.keys() == POISON.keys() | MISFITS.keys()
    for offset, record in failed.items():
        stage = "predict" if offset in POISON else "decode"
        assert _header(record.headers, "inference.error.stage") == stage
        assert record.value == values[offset]
    assert summary["dead_letters_by_class"] == {"ServerError": len(POISON), "FieldError": len(MISFITS)}
    predictions = job.predictions()
    assert len(predictions) == RECORDS - len(failed)
    for record in predictions:
        offset = int(_header(record.headers, "inference.source").rpartition("/")[2])
        assert json.loads(record.value or b"") == {"y": [0.5 * offset + 2, 2.5, 3, 3.5]}
        assert dict(record.headers)["inference.version"] == version


def _header(headers: Headers, name: str) -> str:
    return (dict(headers)[name] or b"").decode()
