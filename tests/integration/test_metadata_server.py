"""A worker on Google Cloud has no key file: its identity and tokens come from the metadata server, which is stood for here.

google-auth, the Vertex client, our reader of secrets and Google's client of Cloud Storage are real. Each runs in a process
of its own, whose environment has nothing of Google's but that server.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import topics
from tests.google_cloud import BUCKET, TOKEN, GoogleCloud
from tests.google_worker import SCHEME
from tests.integration.conftest import NewJob
from tests.integration.process import START_S, Scoring, wait_until
from tests.kafka_broker import ROOT
from tests.metadata_server import MetadataServer, metadata_server
from transforms.testing.contract.certificates import write_certificates
from transforms.testing.stub_model import StubModel
from transforms.testing.vertex.grpc_stub import VertexGrpcStub

SECRET = "projects/demo-project/secrets/kafka/versions/3"
COUNT = 200


@pytest.fixture
def google() -> Iterator[MetadataServer]:
    with metadata_server() as server:
        yield server


def halved(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {"y": [instance["x"] / 2 for instance in inputs["instances"]]}


def write(job: Any, since: int, count: int) -> None:
    values = (json.dumps({"x": number}).encode() for number in range(since, since + count))
    topics.produce(job.bootstrap, job.inputs[0], values, partitions=(number % 2 for number in range(count)))


def test_tokens_are_renewed_and_a_job_holds_while_there_are_none(
    new_job: NewJob, google: MetadataServer, tmp_path: Path
) -> None:
    """A token lives for 1 s, and the endpoint takes the newest only. The job outlasts any deadline of requests."""
    google.lives_s = 1
    with VertexGrpcStub(StubModel.of({}, {}, halved)) as stub:
        google.on_token = lambda token: setattr(stub, "access_token", token)
        job = new_job(stub.uri().replace("vertex", SCHEME, 1), partitions=2)
        flags = job.command("--retry_deadline_s=1", "--request_timeout_ms=1000")
        process = Scoring(flags, google.environ(tmp_path), module="tests.google_worker")
        job.started.append(process)
        write(job, 0, COUNT)
        job.wait_for_commit(COUNT, process)
        before = len(google.given)
        write(job, COUNT, COUNT)
        job.wait_for_commit(2 * COUNT, process)
        wait_until(lambda: len(google.given) > before or write_more(job), "another token", START_S, process)

        google.away = True
        wait_until(lambda: "no access token" in process.stdout or write_more(job), "wait for a token", START_S, process)
        write(job, job_size(job), COUNT)
        assert google.refused
        assert sum(job.committed().values()) < job_size(job)
        assert process.running, process
        google.away = False
        wait_until(lambda: sum(job.committed().values()) == job_size(job), "commit of all", START_S, process)
        process.terminate()
        process.done()
    report = job.report()
    assert report.ok, report
    assert not job.dead_letters()


def job_size(job: Any) -> int:
    """How many records are in the input."""
    return sum(topics.end_offsets(job.bootstrap, job.inputs[0]).values())


def write_more(job: Any) -> bool:
    write(job, job_size(job), 1)
    return False


@contextlib.contextmanager
def secret_manager(folder: Path, values: dict[str, str]) -> Iterator[str]:
    """Serves secrets by TLS, as Google does, to who has the token. Yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            name = self.path.removeprefix("/v1/").removesuffix(":access")
            self.send_response(200 if allowed else 401)
            self.end_headers()
            data = base64.b64encode(values[name].encode()).decode()
            self.wfile.write(json.dumps({"payload": {"data": data if allowed else ""}}).encode())

        def log_message(self, *_: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


READS = f"""
import sys
from pathlib import Path
from transforms.beam_files import BeamFiles
from transforms.secret_manager import resolve

print(resolve("${{secret:{SECRET}}}"))
BeamFiles().copy("gs://{BUCKET}/model", Path(sys.argv[1]))
print(Path(sys.argv[1], "weights").read_text())
"""


def test_secrets_and_model_files_are_read_by_the_workers_own_identity(google: MetadataServer, tmp_path: Path) -> None:
    """Both servers refuse a request without the token that the metadata server gives out."""
    google.make = lambda _: TOKEN
    write_certificates(tmp_path)
    home, weights = tmp_path / "home", tmp_path / "weights"
    home.mkdir()
    weights.write_text("0.5")
    with GoogleCloud(tmp_path) as cloud, secret_manager(tmp_path, {SECRET: "hunter2"}) as address:
        cloud.objects[f"gs://{BUCKET}/model/weights"] = weights
        environ = {
            **os.environ,
            **google.environ(home),
            "PYTHONPATH": str(ROOT),
            "STORAGE_EMULATOR_HOST": cloud.url,
            "SECRET_MANAGER_ENDPOINT": f"https://{address}",
            "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem"),
        }
        command = [sys.executable, "-c", READS, str(tmp_path / "copied")]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=START_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["hunter2", "0.5"]
    assert google.given
