"""Nothing that the program starts listens where another machine could reach it, whatever the runner."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from tests.integration.process import Scoring
from tests.listening import listening, open_to_others
from transforms.child_process import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_socket_on_all_addresses_is_seen() -> None:
    """What the other tests rest on."""
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # it is the point
        with socket.socket(family) as server:
            server.bind((anywhere, 0))
            server.listen()
            port = server.getsockname()[1]
            assert f"{anywhere}:{port}" in open_to_others(os.getpid())
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        where = f"127.0.0.1:{server.getsockname()[1]}"
        assert where in listening(os.getpid())
        assert where not in open_to_others(os.getpid())


def test_the_demo_listens_on_this_machine_only() -> None:
    """The broker, the model server's two ports, and the one of the metrics."""
    port = free_port()
    assert f"127.0.0.1:{port}" in looked_at(f"--metrics_port={port}", least=4)


def test_so_do_its_workers() -> None:
    looked_at("--workers=2", least=3)


@pytest.mark.usefixtures("prism")
def test_so_it_does_on_prism() -> None:
    """Also Prism's port, and the worker pool that Beam has in this process. For the Java pair: ``test_beam_pair.py``."""
    looked_at("--runner=PrismRunner", least=5)


def looked_at(*flags: str, least: int) -> dict[str, str]:
    """Runs the demo until it has predictions; returns all addresses that it listens on, none of them open to others."""
    demo = Scoring([*flags, "--status=plain"])
    try:
        demo.wait_for_output("records,")
        found = listening(demo.pid)
        assert len(found) >= least, found
        assert open_to_others(demo.pid) == {}
        demo.terminate()
        demo.done()
    finally:
        demo.close()
    return found
