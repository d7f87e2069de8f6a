"""``SchemaRegistryStub``: a schema registry for tests, with the part of the REST API that clients use.

    with SchemaRegistryStub() as registry:
        number = registry.add('"string"')
        registry.url

It has ``GET /schemas/ids/{id}`` and ``/schemas/guids/{guid}``, ``GET /subjects/{subject}/versions/{version}``,
``POST /subjects/{subject}`` (find the version of a schema), ``POST /subjects/{subject}/versions`` (register a schema) and
``POST /compatibility/subjects/{subject}/versions`` with or without a version, and ``GET /config`` with or without a subject.
Errors have the registry's codes: 40401 for an unknown subject,
40402 for a version, 40403 for a schema, 409 for an incompatible one. Schemas are returned unchanged; the parameter
``format`` is ignored. The attributes of the stub make it fail.
"""

from __future__ import annotations

import base64
import dataclasses
import http.server
import json
import re
import socket
import ssl
import sys
import threading
import urllib.parse
import uuid
from collections.abc import Sequence
from typing import Any, Self

_BY_ID = re.compile(r"/schemas/ids/(\d+)")
_BY_GUID = re.compile(r"/schemas/guids/([0-9a-f-]+)")
_COMPATIBILITY = re.compile(r"/compatibility/subjects/([^/]+)/versions(?:/(\d+|latest))?")
_CONFIG = re.compile(r"/config(?:/([^/]+))?")
_SUBJECT = re.compile(r"/subjects/([^/]+)")
_VERSION = re.compile(r"/subjects/([^/]+)/versions(?:/(\d+|latest))?")


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """A reference of a schema to another schema.

    Attributes:
        name: The name of the other schema in this one.
        subject: The subject of the other schema.
        version: Its version in that subject.
    """

    name: str
    subject: str
    version: int

    def as_json(self) -> dict[str, Any]:
        """Returns the reference in the JSON form of the REST API."""
        return dataclasses.asdict(self)


class SchemaRegistryStub:
    """A schema registry on a free port of 127.0.0.1. Use it as a context manager.

    Args:
        tls: What makes it speak TLS; ``None`` for plain HTTP.

    Attributes:
        status: If set, the HTTP status that answers every request.
        user_info: If set, the ``name:password`` that every request must have.
        read_only: Whether it lets nobody register a schema.
        incompatible: If set, why no schema is compatible with those before it in its subject.
        incompatible_with: The versions that it is not compatible with; ``None``: all.
        levels: Compatibility levels by subject; that of ``None`` is for all others.
        tests_all_versions: Whether it tests compatibility without being told a version, which Karapace and Redpanda do not.
        answering: An event. While it is cleared, requests wait.
        requests: The paths of the requests, in order of arrival.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.status: int | None = None
        self.user_info: str | None = None
        self.read_only = False
        self.incompatible: str | None = None
        self.incompatible_with: Sequence[int] | None = None
        self.levels: dict[str | None, str] = {None: "BACKWARD"}
        self.tests_all_versions = True
        self.answering = threading.Event()
        self.answering.set()
        self.requests: list[str] = []
        self._schemas: dict[int, dict[str, Any]] = {}
        self._subjects: dict[str, list[int]] = {}
        # This socket is bound but never listens. It reserves the port while the registry is down; connections are refused
        # then.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The registry's URL, ``http://127.0.0.1:PORT`` or ``https://…``."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self._reserved.getsockname()[1]}"

    def add(
        self,
        schema: str,
        kind: str = "AVRO",
        references: Sequence[Reference] = (),
        subject: str = "test-value",
        number: int | None = None,
    ) -> int:
        """Registers a schema as the next version of a subject.

        Args:
            schema: The schema's text.
            kind: Its type: ``AVRO``, ``PROTOBUF`` or ``JSON``.
            references: Its references to other schemas.
            subject: The subject.
            number: The schema's id; ``None`` for the id that the same schema has already, or a new one.

        Returns:
            The schema's id.
        """
        entry: dict[str, Any] = {"schema": schema}
        if kind != "AVRO":
            entry["schemaType"] = kind  # left out for Avro, as the registry does
        if references:
            entry["references"] = [reference.as_json() for reference in references]
        found = next((known for known, other in self._schemas.items() if other == entry), None)
        number = number or found or max(self._schemas, default=0) + 1
        self._schemas[number] = entry
        versions = self._subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number

    def up(self) -> None:
        """Starts to serve. The port is always the same."""
        if self._server is None:
            self._server = _Server(self._reserved.getsockname(), self)
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="SchemaRegistryStub")
            self._thread.start()

    def down(self) -> None:
        """Stops to serve. New connections are refused."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.answering.set()
        self.down()
        self._reserved.close()

    def answer(self, method: str, path: str, authorization: str | None, body: bytes) -> tuple[int, Any]:
        """Returns the HTTP status and the JSON body of the response to a request.

        Args:
            method: The HTTP method.
            path: The path of the URL.
            authorization: The header ``Authorization``, if any.
            body: The body of the request.
        """
        self.requests.append(path)
        self.answering.wait(30)
        if self.status is not None:
            return self.status, {"error_code": self.status, "message": "injected fault"}
        if self.user_info is not None:
            expected = "Basic " + base64.b64encode(self.user_info.encode()).decode()
            if authorization != expected:
                return 401, {"error_code": 401, "message": "Unauthorized"}
        if method == "GET" and (by_id := _BY_ID.fullmatch(path)):
            return self._schema(int(by_id.group(1)))
        if method == "GET" and (by_guid := _BY_GUID.fullmatch(path)):
            number = next((number for number, schema in self._schemas.items() if _guid(schema) == by_guid.group(1)), 0)
            return self._schema(number)
        if method == "POST" and (tried := _COMPATIBILITY.fullmatch(path)):
            return self._compatible(urllib.parse.unquote(tried.group(1)), tried.group(2))
        if method == "GET" and (level := _CONFIG.fullmatch(path)):
            return self._level(level.group(1) and urllib.parse.unquote(level.group(1)))
        if method == "POST" and (only := _SUBJECT.fullmatch(path)):
            return self._find(urllib.parse.unquote(only.group(1)), json.loads(body))
        if version := _VERSION.fullmatch(path):
            subject = urllib.parse.unquote(version.group(1))
            if method == "POST" and version.group(2) is None:
                return self._register(subject, json.loads(body))
            if method == "GET" and version.group(2) is None:
                return 200, list(range(1, len(self._subjects.get(subject, [])) + 1))
            if method == "GET" and version.group(2) is not None:
                return self._version(subject, version.group(2))
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _schema(self, number: int) -> tuple[int, dict[str, Any]]:
        if number not in self._schemas:
            return 404, {"error_code": 40403, "message": f"Schema {number} not found"}
        return 200, self._schemas[number]

    def _version(self, subject: str, version: str) -> tuple[int, dict[str, Any]]:
        versions = self._subjects.get(subject)
        if versions is None:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        index = len(versions) if version == "latest" else int(version)
        if not 0 < index <= len(versions):
            return 404, {"error_code": 40402, "message": f"Version {version} not found."}
        number = versions[index - 1]
        schema = self._schemas[number]
        return 200, {"subject": subject, "version": index, "id": number, "guid": _guid(schema), **schema}

    def _compatible(self, subject: str, version: str | None) -> tuple[int, dict[str, Any]]:
        if version is None and not self.tests_all_versions:
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
        if subject not in self._subjects:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        reasons = [self.incompatible] if self.incompatible is not None and self._clashes(subject, version) else []
        return 200, {"is_compatible": not reasons, "messages": reasons}

    def _clashes(self, subject: str, version: str | None) -> bool:
        level, latest = self.levels.get(subject, self.levels[None]), len(self._subjects[subject])
        if level == "NONE":
            return False
        if version is None and level.endswith("_TRANSITIVE"):
            judged = range(1, latest + 1)
        else:
            judged = range(latest, latest + 1) if version in (None, "latest") else range(int(version), int(version) + 1)
        return self.incompatible_with is None or not set(self.incompatible_with).isdisjoint(judged)

    def _level(self, subject: str | None) -> tuple[int, dict[str, Any]]:
        if subject not in self.levels:
            message = f"Subject '{subject}' does not have subject-level compatibility configured"
            return 404, {"error_code": 40408, "message": message}
        return 200, {"compatibilityLevel": self.levels[subject]}

    def _find(self, subject: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        for version, number in enumerate(self._subjects.get(subject, []), 1):
            if self._schemas[number]["schema"] == asked["schema"]:
                return self._version(subject, str(version))
        return 404, {"error_code": 40403, "message": "Schema not found"}

    def _register(self, subject: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.read_only:
            return 403, {"error_code": 40301, "message": "User is denied operation Write"}
        if self.incompatible is not None and subject in self._subjects and self._clashes(subject, None):
            return 409, {"error_code": 409, "message": self.incompatible}
        references = [Reference(r["name"], r["subject"], r["version"]) for r in asked.get("references") or ()]
        number = self.add(asked["schema"], asked.get("schemaType") or "AVRO", references, subject)
        schema, version = self._schemas[number], self._subjects[subject].index(number) + 1
        return 200, {"id": number, "guid": _guid(schema), "version": version, **schema}


def _guid(schema: dict[str, Any]) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(schema, sort_keys=True)))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = True

    def __init__(self, address: tuple[str, int], registry: SchemaRegistryStub):
        self.registry = registry
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores connections that the client has closed early, and handshakes that have failed."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shakes hands in the request's own thread: a client that is slow at it keeps no other waiting."""
        if self.registry.tls is None:
            super().finish_request(request, client_address)
            return
        with self.registry.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        status, answer = self.server.registry.answer(self.command, path, self.headers.get("Authorization"), body)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _answer  # noqa: N815  # http.server's names

    def log_message(self, *_: object) -> None:
        """Logs nothing."""
