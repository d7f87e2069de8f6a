"""Stands for Google Cloud on 127.0.0.1: Dataflow v1b3, Cloud Storage's JSON API, Secret Manager, and OAuth's token endpoint.

Google's own clients talk to it as they do to Google: apitools in Beam's runner, ``google-cloud-storage``, ``google-auth``
(workload identity federation, with a subject token from a file); and our readers of secrets. It checks the bearer token of
every request that should have one, keeps what it is sent, and answers as the published API definitions say.

Beam takes an endpoint with a port for a wrong URL, unless it is ``localhost``, for which it leaves out checks and asks for
local workers. So Dataflow's is on port 80 of a loopback address of its own; where a process may not have that, on localhost.

    with GoogleCloud(folder) as cloud:
        subprocess.run([…, *cloud.flags()], env=os.environ | cloud.environ)
        [job] = cloud.jobs.values()
        cloud.object("gs://bucket/…/pipeline.pb")
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import random
import re
import threading
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

PROJECT, REGION, BUCKET = "demo-project", "europe-west1", "demo-bucket"
TOKEN = "token-of-the-stub"  # worth nothing
UPDATED = "2026-11-24T01:02:03Z"
ACTIVE = ("JOB_STATE_RUNNING", "JOB_STATE_DRAINING", "JOB_STATE_PENDING")


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class GoogleCloud:
    """The servers, from the start of the ``with`` block to its end.

    Args:
        folder: Where objects and the key file are written.
        secrets: Full name of a version (``projects/P/secrets/S/versions/V``) to its value.

    Attributes:
        url: Where everything is.
        endpoint: Dataflow's address for Beam.
        as_google: Whether Beam treats that as it does Google's own.
        jobs: Job id to the job as it was created or changed last.
        objects: ``gs://…`` to the file that holds the object.
        secrets: What Secret Manager gives out.
        accessed: The names of the secrets that were asked for.
        refuse_jobs: A status with which job creation is refused, if set.
        log: ``METHOD path`` of every request.
    """

    def __init__(self, folder: Path, secrets: Mapping[str, str] | None = None):
        self._folder = folder
        self.secrets = dict(secrets or {})
        self.accessed: list[str] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, Path] = {}
        self.refuse_jobs: int | None = None
        self.log: list[str] = []
        self._uploads: dict[str, tuple[str, Path]] = {}
        self._lock = threading.Lock()
        self._servers = [_listen("127.0.0.1", 0, _handler(self))]
        self.url = f"http://127.0.0.1:{self._servers[0].server_port}"
        self.endpoint, self.as_google = f"http://localhost:{self._servers[0].server_port}", False
        with contextlib.suppress(PermissionError):
            self._servers.append(_on_port_80(_handler(self)))
            self.endpoint, self.as_google = f"http://{self._servers[1].server_address[0]!s}", True
        self._credentials = _credentials(folder, f"{self.url}/token")

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in self._servers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def environ(self) -> dict[str, str]:
        """By which Google's clients and ours find it, and who we are."""
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._credentials),
            "STORAGE_EMULATOR_HOST": self.url,
            "SECRET_MANAGER_ENDPOINT": self.url,
            "NO_GCE_CHECK": "true",
        }

    def flags(self, job_name: str = "scoring") -> list[str]:
        """The flags of a submission to it."""
        return [
            "--runner=DataflowRunner",
            f"--project={PROJECT}",
            f"--region={REGION}",
            f"--temp_location=gs://{BUCKET}/temp",
            f"--job_name={job_name}",
            f"--dataflow_endpoint={self.endpoint}",
        ]

    def object(self, url: str) -> bytes:
        """An object's content."""
        return self.objects[url].read_bytes()

    # ------------------------------------------------------------------ what it serves

    def answer(self, method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        """Returns status, headers and JSON body."""
        parts = urllib.parse.urlsplit(url)
        path = urllib.parse.unquote(parts.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(parts.query).items()}
        with self._lock:
            self.log.append(f"{method} {path}")
            if path == "/token":
                return self._token(body)
            secret = re.fullmatch(r"/v1/(projects/.*/versions/[^:]*):access", path)
            if secret:
                return self._secret(secret[1])
            if headers.get("authorization") != f"Bearer {TOKEN}":
                raise RefusedError(401, "no valid credentials")
            if path.startswith("/v1b3/"):
                return self._dataflow(method, path, body)
            return self._storage(method, path, parts.path, query, headers, body)

    def _token(self, body: bytes) -> tuple[int, dict[str, str], Any]:
        form = urllib.parse.parse_qs(body.decode())
        if form.get("grant_type") != ["urn:ietf:params:oauth:grant-type:token-exchange"]:
            raise RefusedError(400, "unsupported grant")
        return (
            200,
            {},
            {
                "access_token": TOKEN,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "expires_in": 3600,
                "token_type": "Bearer",
            },
        )

    def _secret(self, name: str) -> tuple[int, dict[str, str], Any]:
        self.accessed.append(name)
        if name not in self.secrets:
            raise RefusedError(404, "no such secret")
        data = base64.b64encode(self.secrets[name].encode()).decode()
        return 200, {}, {"name": name, "payload": {"data": data}}

    def _dataflow(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        found = re.fullmatch(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs(?:/([^/]+))?(/messages)?", path)
        if not found or found[1] != PROJECT or found[2] != REGION:
            raise RefusedError(404, f"nothing at {path}")
        job_id, messages = found[3], found[4]
        if method == "POST" and not job_id:
            return 200, {}, self._create(json.loads(body))
        if not job_id:
            return 200, {}, {"jobs": [job for job in self.jobs.values() if job["currentState"] in ACTIVE]}
        if job_id not in self.jobs:
            raise RefusedError(404, f"no job {job_id}")
        job = self.jobs[job_id]
        if messages:
            return 200, {}, {}
        if method == "PUT":
            job["currentState"] = json.loads(body)["requestedState"]
        return 200, {}, job

    def _create(self, job: dict[str, Any]) -> dict[str, Any]:
        if self.refuse_jobs:
            raise RefusedError(self.refuse_jobs, "the caller does not have permission dataflow.jobs.create")
        replaced = job.get("replaceJobId")
        for other in self.jobs.values():
            if other["name"] == job["name"] and other["currentState"] in ACTIVE and other["id"] != replaced:
                return other  # by its clientRequestId Beam sees that it is not the one it asked for
        if replaced:
            self.jobs[replaced]["currentState"] = "JOB_STATE_UPDATED"
        job_id = f"2026-11-24_01_02_0{len(self.jobs)}-123456789012345678{len(self.jobs)}"
        self.jobs[job_id] = {
            **job,
            "id": job_id,
            "projectId": PROJECT,
            "location": REGION,
            "currentState": "JOB_STATE_RUNNING",
        }
        return self.jobs[job_id]

    def _storage(
        self, method: str, path: str, raw: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], Any]:
        if method == "GET" and path == f"/storage/v1/b/{BUCKET}":
            return 200, {}, {"kind": "storage#bucket", "name": BUCKET, "id": BUCKET}
        if method == "GET" and path == f"/storage/v1/b/{BUCKET}/o":
            names = sorted(url for url in self.objects if url.startswith(f"gs://{BUCKET}/{query.get('prefix', '')}"))
            return 200, {}, {"kind": "storage#objects", "items": [self._resource(url) for url in names]}
        if method == "GET" and (found := re.fullmatch(rf"/download/storage/v1/b/{BUCKET}/o/(.*)", path)):
            return self._part(self.object(f"gs://{BUCKET}/{found[1]}"), headers.get("range", "bytes=0-"))
        if method == "GET" and (found := re.fullmatch(rf"/storage/v1/b/{BUCKET}/o/(.*)", path)):
            url = f"gs://{BUCKET}/{found[1]}"
            if url not in self.objects:
                raise RefusedError(404, f"no object {url}")
            return 200, {}, self._resource(url)
        if path == f"/upload/storage/v1/b/{BUCKET}/o" and query.get("uploadType") == "resumable":
            if method == "POST":
                name = query.get("name") or json.loads(body)["name"]
                upload = str(len(self._uploads))
                self._uploads[upload] = (f"gs://{BUCKET}/{name}", self._folder / f"object-{upload}")
                return 200, {"Location": f"{self.url}{raw}?uploadType=resumable&upload_id={upload}"}, {}
            return self._chunk(query["upload_id"], headers["content-range"], body)
        raise RefusedError(404, f"nothing at {method} {path}")

    def _part(self, content: bytes, wanted: str) -> tuple[int, dict[str, str], bytes]:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        if start >= len(content):
            raise RefusedError(416, "the range is not in the object")
        return 206, {"Content-Range": f"bytes {start}-{end}/{len(content)}"}, content[start : end + 1]

    def _chunk(self, upload: str, content_range: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        url, file = self._uploads[upload]
        with file.open("ab") as opened:
            opened.write(body)
        if content_range.endswith("/*"):
            return 308, {"Range": f"bytes=0-{file.stat().st_size - 1}"}, None
        self.objects[url] = file
        return 200, {}, self._resource(url)

    def _resource(self, url: str) -> dict[str, Any]:
        name = url.removeprefix(f"gs://{BUCKET}/")
        size = str(self.objects[url].stat().st_size)
        return {
            "kind": "storage#object",
            "bucket": BUCKET,
            "name": name,
            "size": size,
            "generation": "1",
            "updated": UPDATED,
        }


def _listen(host: str, port: int, handler: type[http.server.BaseHTTPRequestHandler]) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer((host, port), handler)
    server.daemon_threads = True
    return server


def _on_port_80(handler: type[http.server.BaseHTTPRequestHandler]) -> http.server.ThreadingHTTPServer:
    for last in random.sample(range(2, 255), 20):
        with contextlib.suppress(OSError):
            return _listen(f"127.0.0.{last}", 80, handler)
    raise PermissionError("no loopback address where this process may listen on port 80")


def _handler(cloud: GoogleCloud) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self._body()
            try:
                status, headers, answer = cloud.answer(
                    self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body
                )
            except RefusedError as error:
                status, headers = error.status, {}
                answer = {"error": {"code": error.status, "message": str(error)}}
            content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815  # the names that http.server calls

        def log_message(self, *arguments: object) -> None:
            """Says nothing: ``cloud.log`` has it."""

    return Handler


def _credentials(folder: Path, token_url: str) -> Path:
    """Writes application-default credentials; a service account's key would have google-auth ask Google about its region."""
    (folder / "subject").write_text("subject-token-of-the-stub", encoding="utf-8")
    account = {
        "type": "external_account",
        "audience": "stub",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": token_url,
        "credential_source": {"file": str(folder / "subject")},
    }
    path = folder / "credentials.json"
    path.write_text(json.dumps(account), encoding="utf-8")
    return path
