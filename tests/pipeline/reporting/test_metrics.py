"""The server of ``--metrics_port``, as a scraper and a probe meet it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pipeline.reporting.health import STUCK_S, not_ready
from pipeline.reporting.listening import MOST_CLIENTS
from pipeline.reporting.metrics import serve_metrics
from tests.pipeline.reporting.test_collector import parse, stats
from transforms.errors import ScoringError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def get(port: int, path: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_served_over_http_and_always_as_of_now() -> None:
    worker = stats()
    with serve_metrics(0, worker.rows) as port:
        status, content_type, text = get(port, "/metrics")
        assert (status, content_type) == (200, CONTENT_TYPE)
        assert parse(text)["scoring_predictions_total",] == 7
        worker.committed(1, {}, [(0.001, 1)])
        assert parse(get(port, "/metrics")[2])["scoring_predictions_total",] == 8
        assert get(port, "/healthz")[0] == 200
        assert get(port, "/")[0] == 404


def test_holding_is_healthy_but_not_ready() -> None:
    """A restart would not bring the model server back."""
    worker = stats()
    with serve_metrics(0, worker.rows) as port:
        assert get(port, "/readyz")[0] == 200
        worker.holding("the model server: connection refused")
        assert get(port, "/healthz")[0] == 200
        status, _, text = get(port, "/readyz")
        assert (status, text) == (503, "waiting for the model server: connection refused\n")
        assert not_ready(worker.rows) == text.strip()


def test_the_time_of_day_does_not_matter() -> None:
    """Times are on the monotonic clock: setting the clock neither stops a healthy job nor hides a stuck one."""
    worker = stats()
    worker.polled()
    worker.committed(1, {}, [(0.001, 1)])
    now = time.monotonic()
    for name in ("first_at", "last_at", "polled_at"):
        assert now - 60 < worker.rows[name][0] <= now
    with serve_metrics(0, worker.rows) as port:
        assert get(port, "/healthz")[0] == 200


def test_a_stuck_one_is_told_by_its_status() -> None:
    worker = stats()
    worker.rows["polled_at"] = time.monotonic() - 2 * STUCK_S
    with serve_metrics(0, worker.rows) as port:
        assert get(port, "/healthz")[0] == 503
        assert get(port, "/readyz")[0] == 503
        assert get(port, "/metrics")[0] == 200


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    with serve_metrics(0, stats().rows) as port:
        with (
            pytest.raises(ScoringError, match=rf"--metrics_port={port}: .*choose another"),
            serve_metrics(port, stats().rows),
        ):
            pass
        assert get(port, "/healthz")[0] == 200


def test_afterwards_the_port_is_free() -> None:
    with serve_metrics(0, stats().rows) as port:
        pass
    with serve_metrics(port, stats().rows):
        pass


def test_a_scraper_that_asks_for_openmetrics_gets_it() -> None:
    with serve_metrics(0, stats().rows) as port:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": OPENMETRICS})
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.headers["Content-Type"].startswith(OPENMETRICS)
            read = text_string_to_metric_families(response.read().decode())  # type: ignore[no-untyped-call]  # its own
            families = {family.name: family for family in read}
    [sample] = families["scoring_predictions"].samples
    assert (sample.name, sample.value) == ("scoring_predictions_total", 7)


@pytest.mark.parametrize("sent", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x"])
def test_a_stalled_client_does_not_hold_a_thread_for_ever(sent: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither one that sends nothing, nor one that stops in the middle; and it is nothing to write about."""
    before = set(threading.enumerate())
    with (
        serve_metrics(0, stats().rows, client_timeout_s=0.1) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(sent)
        assert client.recv(1) == b"", "the server hangs up"
        for thread in set(threading.enumerate()) - before:
            if thread.name != "metrics_port":  # which accepts connections
                thread.join(30)
                assert not thread.is_alive()
        assert get(port, "/metrics")[0] == 200
    assert capfd.readouterr().err == ""


def test_clients_that_stall_take_no_more_than_so_many_threads() -> None:
    """Each sends a byte now and then, so that none is silent for long; a scraper is served nevertheless."""
    before = set(threading.enumerate())
    with serve_metrics(0, stats().rows, client_timeout_s=60) as port, contextlib.ExitStack() as stack:
        clients = []
        for _ in range(6 * MOST_CLIENTS):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)))
            clients[-1].sendall(b"GET /me")
        for client in clients:
            with contextlib.suppress(OSError):  # it was cut
                client.sendall(b"t")
        assert get(port, "/metrics")[0] == 200
        assert len(set(threading.enumerate()) - before) <= MOST_CLIENTS + 1
        assert clients[0].recv(1) == b"", "the oldest is cut"
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), "all threads end with their connections"
