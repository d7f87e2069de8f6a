"""The server of ``--status_port``, as a browser, another site and a stalled client meet it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from pipeline.embedded.generator import grey_png
from pipeline.reporting.page.server import FILES, is_ours
from tests.pipeline.reporting.page.serving import Served, letter, prediction, record, served
from transforms.errors import ScoringError

PNG = grey_png(8, 8)


def get(page: Served, path: str, method: str = "GET", host: str | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(page.url).netloc, timeout=30)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def state(page: Served) -> dict[str, Any]:
    status, _, body = get(page, "/state.json")
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found


def test_all_that_the_page_loads_is_its_own(tmp_path: Path) -> None:
    """Every file that a file names is served, and none names another host."""
    with served(tmp_path) as page:
        for path in FILES:
            status, headers, body = get(page, path)
            assert (status, headers["X-Content-Type-Options"]) == (200, "nosniff")
            assert int(headers["Content-Length"]) == len(body)
            text = body.decode().replace("http://www.w3.org/2000/svg", "")
            assert "//" not in re.sub(r"(?m)(^|\s)//.*$", "", text), f"{path} names another host"
            for name in re.findall(r'(?:href|src)="([\w.]+)"|from "\./([\w.]+)"', text):
                assert f"/{''.join(name)}" in FILES
        assert get(page, "/other")[0] == 404
        assert get(page, "/../server.py")[0] == 404


def test_scripts_are_files_of_its_own_only(tmp_path: Path) -> None:
    """So that nothing that a record says can be run, even if it got into the page as HTML."""
    with served(tmp_path) as page:
        _, headers, body = get(page, "/")
        policy = dict(part.split(None, 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["img-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert not re.search(rb"<script(?![^>]*\bsrc=)|\son\w+=|<style|\sstyle=", body)
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_figures_of_now(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        page.worker.assigned(["in/0"])
        page.worker.polled()
        page.commit([prediction(record(1, b"")), letter(record(2, None), "it is null")])
        page.worker.answered(2, 0.01, "3")
        page.history.add()
        found = state(page)
        assert found["totals"]["records"] == 2
        assert found["graph"]["edges"] == [
            {"to": "decode", "count": 2, "dead_letters": 1},
            {"to": "predict", "count": 1, "dead_letters": 0},
            {"to": "encode", "count": 1, "dead_letters": 0},
            {"to": "write", "count": 1, "dead_letters": 0},
        ]
        assert (found["graph"]["predictions"], found["graph"]["dead_letters"]) == (1, 1)
        assert found["batches"][1] == {"up_to": 2, "count": 1}
        assert [change["versions"] for change in found["versions"]] == [["3"]]
        [dead] = found["dead_letters"]
        assert (dead["source"], dead["class"], dead["message"]) == ("in/0/2", "Tombstone", "it is null")
        assert dead["command"] == "python -m pipeline.dead_letters --source=in/0/2"
        assert found["phase"] == "scoring 1 partition"
        page.worker.holding("the model server: refused")
        assert state(page)["phase"] == "waiting for the model server: refused"


def test_images_are_shown_and_no_other_input(tmp_path: Path) -> None:
    records = [record(1, PNG), record(2, b'{"name": "secret"}'), record(3, b"secret letter"), record(4, PNG)]
    with served(tmp_path, records) as page:
        page.commit([prediction(records[0]), prediction(records[1]), letter(records[2], "no")])
        found = state(page)
        assert [(shown["source"], shown["picture"], shown["input"]) for shown in found["predictions"]] == [
            ("in/0/2", None, None),
            ("in/0/1", "picture/in/0/1", None),
        ]
        status, headers, body = get(page, "/picture/in/0/1")
        assert (status, headers["Content-Type"], body) == (200, "image/png", PNG)
        assert get(page, "/picture/in/0/2")[0] == 404
        assert get(page, "/picture/in/0/4")[0] == 404, "an image that is not on the page"
        assert set(page.reader.asked) == {("in", 0, 1), ("in", 0, 2)}
        assert "secret" not in json.dumps(found)
    assert page.reader.closed


def test_other_inputs_are_shown_where_that_is_asked_for(tmp_path: Path) -> None:
    records = [record(1, b'{"amount": 3.5}'), record(2, None), record(3, b"\x00" * 1000)]
    with served(tmp_path, records, texts=True) as page:
        page.commit([*map(prediction, [records[0], record(9, b"gone")]), *(letter(one, "no") for one in records[1:])])
        found = state(page)
        assert {shown["source"]: shown["input"] for shown in found["predictions"]} == {
            "in/0/1": '{"amount": 3.5}',
            "in/0/9": "(deleted)",
        }
        letters = {shown["source"]: shown["input"] for shown in found["dead_letters"]}
        assert letters["in/0/2"] == "(null)"
        assert len(letters["in/0/3"]) <= 401


@pytest.mark.parametrize(
    ("host", "name", "ours"),
    [
        ("127.0.0.1", "127.0.0.1:8080", True),
        ("127.0.0.1", "localhost:8080", True),
        ("127.0.0.1", "LocalHost", True),
        ("127.0.0.1", "[::1]:8080", True),
        ("127.0.0.1", "127.0.0.1.evil.example:8080", False),
        ("127.0.0.1", "evil.example:8080", False),
        ("127.0.0.1", "10.0.0.7:8080", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[::1", False),
        ("0.0.0.0", "10.0.0.7:8080", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", f"{socket.gethostname()}:8080", True),
        ("scoring.internal", "scoring.internal:8080", True),
    ],
)
def test_the_host_that_a_request_names(host: str, name: str, ours: bool) -> None:
    """Another site's name that leads here is refused (DNS rebinding); an address is nobody else's."""
    assert is_ours(name, host) is ours


def test_a_request_of_another_site_gets_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        for path in ("/", "/state.json", "/page.js"):
            status, _, body = get(page, path, host="evil.example")
            assert status == 421
            assert body.startswith(b"ask by this machine's address")
        assert get(page, "/state.json", host="localhost:1")[0] == 200


def test_only_reading_is_possible(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        assert get(page, "/", "POST")[0] == 501
        status, headers, body = get(page, "/", "HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 1000


def test_a_stalled_client_is_cut(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with served(tmp_path, timeout_s=0.1) as page:
        address = urllib.parse.urlsplit(page.url)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as client:
            client.sendall(b"GET / HT")
            assert client.recv(1) == b""
        assert get(page, "/")[0] == 200
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()


def test_a_port_that_is_taken_names_the_flag(tmp_path: Path) -> None:
    from pipeline.reporting.page.server import serve_page

    with served(tmp_path) as page:
        port = urllib.parse.urlsplit(page.url).port or 0
        with (
            pytest.raises(ScoringError, match=rf"--status_port={port}: .*choose another"),
            serve_page(port, page.state, None),  # type: ignore[arg-type]  # it is not asked
        ):
            pass
