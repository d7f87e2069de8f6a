"""The model in the worker: loaded once for many clients, warmed up, and what its failures mean. Without TensorFlow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.clients.saved_model.models import ROW, VECTOR, poll, use, version_of
from transforms.clients.saved_model.arrays import zero_rows
from transforms.clients.saved_model.client import SavedModelClient
from transforms.errors import ConfigError, OverloadedError, RejectedError, UnavailableError
from transforms.testing.contract import TIMEOUT_S
from transforms.testing.saved_model.stub import SavedModelStub
from transforms.testing.stub_model import StubModel
from transforms.types import METHOD_CLASSIFY, METHOD_PREDICT, Signature, TensorSpec


@pytest.fixture
def stub() -> Iterator[SavedModelStub]:
    with SavedModelStub() as stub:
        yield stub


# ---------------------------------------------------------------------- one model, many clients


def test_loaded_once_for_all_clients_and_let_go_with_the_last(stub: SavedModelStub) -> None:
    async def run() -> None:
        first, second = stub.client(), stub.client()
        await asyncio.gather(first.metadata(TIMEOUT_S), second.metadata(TIMEOUT_S))
        await first.close()
        assert await version_of(second) == "1"
        assert stub.loads == [1]
        assert stub.closed == []
        await second.close()
        assert stub.closed == [1]

    asyncio.run(run())


def test_clients_in_loops_of_their_own(stub: SavedModelStub) -> None:
    """Each of a worker's request loops is a thread."""

    async def work() -> str:
        async with stub.client() as client:
            await client.metadata(TIMEOUT_S)
            return await version_of(client)

    async def run() -> list[str]:
        async with stub.client() as client:
            await client.metadata(TIMEOUT_S)
            return await asyncio.gather(*(asyncio.to_thread(asyncio.run, work()) for _ in range(4)))

    assert asyncio.run(run()) == ["1"] * 4
    assert stub.loads == [1]


def test_a_model_stays_a_while_after_its_last_client(stub: SavedModelStub) -> None:
    """The job's client follows that of the start-up check; it must not load again."""
    stub.store = type(stub.store)(linger_s=3600)
    for _ in range(2):
        assert use(stub, version_of) == "1"
    assert stub.loads == [1]
    assert stub.closed == []
    stub.store.close()
    assert stub.closed == [1]


def test_what_is_still_loading_at_the_time_limit_goes_on(stub: SavedModelStub) -> None:
    async def run() -> None:
        async with stub.client() as client:
            stub.hold_loading.clear()
            with pytest.raises(UnavailableError, match=r"still loading after 0\.02 s"):
                await client.metadata(0.02)
            stub.hold_loading.set()
            assert (await client.metadata(TIMEOUT_S)).version == "1"
        assert stub.loads == [1]

    asyncio.run(run())


def test_a_client_closed_while_loading_leaves_nothing_behind(stub: SavedModelStub) -> None:
    async def run() -> None:
        client = stub.client()
        stub.hold_loading.clear()
        with pytest.raises(UnavailableError):
            await client.metadata(0.02)
        pool = client._shared().pool
        await client.close()
        stub.hold_loading.set()
        await asyncio.to_thread(pool.shutdown)  # waits for the thread that loads

    asyncio.run(run())
    assert stub.closed == [1]
    assert not stub.copies[0].exists()


def test_a_client_that_comes_while_a_version_loads_does_not_wait(stub: SavedModelStub) -> None:
    async def work(client: SavedModelClient) -> None:
        stub.model.versions[2] = "AVAILABLE"
        stub.hold_loading.clear()
        looking = asyncio.create_task(poll(stub))
        await asyncio.to_thread(stub.loading.wait, 10)
        async with stub.client() as other:
            assert (await other.metadata(TIMEOUT_S)).version == "1"
            assert await version_of(other) == "1"
        stub.hold_loading.set()
        await looking
        assert await version_of(client) == "2"

    use(stub, work)


def test_predict_without_metadata(stub: SavedModelStub) -> None:
    async def run() -> str:
        async with stub.client() as client:
            return await version_of(client)

    assert asyncio.run(run()) == "1"


# ---------------------------------------------------------------------- warm-up


@pytest.mark.parametrize(
    ("inputs", "shapes"),
    [
        ({"x": TensorSpec("float32", (-1, 2))}, {"x": (1, 2)}),
        ({"x": TensorSpec("int64", (4, 3)), "s": TensorSpec("string", (-1,))}, {"x": (4, 3), "s": (4,)}),
        ({"x": TensorSpec("bfloat16", ())}, {"x": ()}),
        ({"x": TensorSpec("float32", None)}, None),
        ({"x": TensorSpec("float32", (-1, -1))}, None),
        ({"x": TensorSpec("resource", (-1,))}, None),
        ({}, None),
    ],
)
def test_zero_rows(inputs: dict[str, TensorSpec], shapes: dict[str, tuple[int, ...]] | None) -> None:
    """A counter, which takes nothing, is not counted up."""
    rows = zero_rows(Signature("s", METHOD_PREDICT, inputs, {}))
    assert (None if rows is None else {name: array.shape for name, array in rows.items()}) == shapes
    classify = zero_rows(Signature("s", METHOD_CLASSIFY, inputs, {}))
    assert classify is not None
    assert classify["inputs"].tolist() == [b""]


def vector_model(seen: list[Any]) -> StubModel:
    def function(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.append(inputs["x"].tolist())
        return inputs

    return StubModel.of(VECTOR, VECTOR, function)


def test_every_version_is_warmed_up_once_before_it_answers(stub: SavedModelStub) -> None:
    seen: list[Any] = []
    stub.model = vector_model(seen)
    stub.warm_up = True

    async def work(client: SavedModelClient) -> None:
        await client.metadata(TIMEOUT_S)
        assert seen == [[[0, 0]]]
        stub.model.versions = {2: "AVAILABLE"}
        await poll(stub)
        assert seen == [[[0, 0]]] * 2
        await client.predict({"x": np.ones((1, 2), np.float32)}, 1, TIMEOUT_S)
        assert seen[2:] == [[[1, 1]]]

    use(stub, work)


def test_a_model_that_refuses_zeros_is_none_the_worse(stub: SavedModelStub) -> None:
    stub.model, stub.warm_up = vector_model([]), True
    stub.faults.fail_next(1, "INVALID_ARGUMENT", "Input is empty.")
    assert use(stub, lambda client: client.predict({"x": np.ones((1, 2), np.float32)}, 1, TIMEOUT_S)).version == "1"


def test_a_version_that_cannot_be_run_is_not_taken(stub: SavedModelStub, caplog: pytest.LogCaptureFixture) -> None:
    stub.model, stub.warm_up = vector_model([]), True

    async def work(client: SavedModelClient) -> str:
        stub.faults.fail_next(1, "UNIMPLEMENTED", "no kernel for this operation")
        stub.model.versions[2] = "AVAILABLE"
        await poll(stub)
        return (await client.predict({"x": np.ones((1, 2), np.float32)}, 1, TIMEOUT_S)).version

    assert use(stub, work) == "1"
    assert "version 2 can't be run by signature serving_default: UNIMPLEMENTED: no kernel" in caplog.text


# ---------------------------------------------------------------------- errors


def test_no_thread_free_in_time_is_transient(stub: SavedModelStub) -> None:
    async def work(client: SavedModelClient) -> None:
        stub.faults.answer_next(None, "hang")
        requests = [client.predict({"x": ROW}, 1, 0.1) for _ in range(40)]
        errors = await asyncio.gather(*requests, return_exceptions=True)
        assert {type(error) for error in errors} == {OverloadedError}

    use(stub, work)


def test_an_element_that_is_no_string_is_rejected(stub: SavedModelStub) -> None:
    words = np.array([b"fine", object()], dtype=object)
    with pytest.raises(RejectedError, match="neither bytes nor str"):
        use(stub, lambda client: client.predict({"x": words}, 2, TIMEOUT_S))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("it is not here", name="no_tensorflow"), r"\(no_tensorflow\): pip install"),
        (ImportError("it has no libtensorflow_cc"), "can't be used: ImportError: it has no libtensorflow_cc$"),
    ],
)
def test_without_tensorflow_it_says_what_to_install(stub: SavedModelStub, error: ImportError, said: str) -> None:
    """And only if an installation would help."""
    stub.load_error = error

    async def run() -> None:
        async with stub.client() as client:
            with pytest.raises(ConfigError, match=f"--model=saved_model://stub://.*{said}"):
                await client.metadata(TIMEOUT_S)

    asyncio.run(run())


def test_not_enough_memory_is_for_now(stub: SavedModelStub) -> None:
    """It is tried again, whereas a broken model waits for its files to change."""

    async def run() -> None:
        async with stub.client() as client:
            stub.load_error = MemoryError()
            with pytest.raises(UnavailableError, match="memory"):
                await client.metadata(TIMEOUT_S)
            stub.load_error = None
            assert (await client.metadata(TIMEOUT_S)).version == "1"

    asyncio.run(run())
