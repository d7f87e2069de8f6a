"""The end of a stub server: whatever is in progress is ended with it, and nothing begins after it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.clients.tf_runtime.serving_error import Code, ServingError
from transforms.testing.saved_model.stub import SavedModelStub, StubSession
from transforms.testing.stub_server import StubServer
from transforms.testing.tfserving.rest_stub import TfServingRestStub

WAIT_S = 60.0
TURNS = 20
"""Turns of its loop that a task takes to end: more than the stub's own end takes without it."""

X, Y = {"serving_default/x:0": np.ones((1, 1), np.float32)}, ["serving_default/y:0"]


class Bare(StubServer):
    """A stub without a protocol: its work comes from ``begin``."""

    def uri(self, *_: Any, **__: Any) -> str:
        return self.address

    async def _start(self) -> None: ...

    async def _stop(self) -> None: ...

    def begin(self, work: Coroutine[Any, Any, None]) -> concurrent.futures.Future[None]:
        return self._submit(lambda: work)


def session_of(stub: SavedModelStub, folder: Path) -> StubSession:
    (folder / "saved_model.pb").write_text("1")
    return stub.load(folder, ())


def test_what_is_in_progress_comes_to_its_end_before_the_loop_stops() -> None:
    """Also what is not over with the cancellation, and what that begins in its turn."""
    began, ended = threading.Event(), []

    async def slow(name: str) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            ended.append(name)

    async def starts_another() -> None:
        try:
            await slow("first")
        finally:
            kept.append(asyncio.create_task(slow("second")))
            await asyncio.sleep(0)

    kept: list[asyncio.Task[None]] = []
    with Bare() as stub:
        begun = stub.begin(starts_another())  # kept, else the garbage collector may take the task
        assert began.wait(WAIT_S)
    assert ended == ["first", "second"]
    assert begun.cancelled()


def test_a_run_that_begins_after_the_end_is_cancelled(tmp_path: Path) -> None:
    """And leaves no coroutine behind that was never awaited, which pytest would make an error of this test."""
    with SavedModelStub() as stub:
        session = session_of(stub, tmp_path)
    with pytest.raises(ServingError) as caught:
        session.run(X, Y, WAIT_S)
    assert caught.value.code == Code.CANCELLED


def test_runs_that_begin_while_the_stub_ends(tmp_path: Path) -> None:
    """Each is answered or cancelled, wherever the end meets it."""

    def ask(session: StubSession, answered: threading.Semaphore) -> set[str]:
        found: list[str] = []
        while len(found) < 20:
            try:
                session.run(X, Y, WAIT_S)
            except ServingError as error:
                found.append(error.code.name)
            answered.release()
        return set(found)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            answered = threading.Semaphore(0)
            with SavedModelStub() as stub:
                session = session_of(stub, tmp_path)
                asking = [pool.submit(ask, session, answered) for _ in range(4)]
                for _ in range(8):
                    assert answered.acquire(timeout=WAIT_S)
            for found in asking:
                assert found.result(WAIT_S) == {"CANCELLED"}


@pytest.mark.filterwarnings("error:unclosed:ResourceWarning")
def test_connections_that_are_accepted_while_the_stub_ends_are_closed() -> None:
    """None is left to the garbage collector, which pytest would make an error of this test."""
    for _ in range(10):
        with contextlib.ExitStack() as clients:
            with TfServingRestStub() as stub:
                for _ in range(10):
                    clients.enter_context(socket.create_connection(("127.0.0.1", stub.port), timeout=WAIT_S))
            gc.collect()
