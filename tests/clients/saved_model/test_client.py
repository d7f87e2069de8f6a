"""The model in the worker: which version answers, and when another one takes over. Without TensorFlow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tests.clients.saved_model.models import ROW, VECTOR, poll, use, version_of
from transforms.clients.saved_model.client import SavedModelClient
from transforms.errors import NotServedError
from transforms.testing.contract import TIMEOUT_S
from transforms.testing.saved_model.stub import SavedModelStub
from transforms.testing.stub_model import StubModel
from transforms.types import METHOD_PREDICT, Signature, TensorSpec


@pytest.fixture
def stub() -> Iterator[SavedModelStub]:
    with SavedModelStub() as stub:
        yield stub


def test_a_new_version_takes_over_and_the_old_one_is_let_go(stub: SavedModelStub) -> None:
    async def work(client: SavedModelClient) -> None:
        stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}
        assert await version_of(client) == "1"  # until somebody looks
        await poll(stub)
        assert await version_of(client) == "2"
        assert stub.closed == [1]
        await poll(stub)
        assert stub.loads == [1, 2]  # the same once more is no news

    use(stub, work)
    assert stub.closed == [1, 2]
    assert not [path for path in stub.copies if path.exists()]


def test_the_old_version_answers_its_requests_to_the_end(stub: SavedModelStub) -> None:
    async def work(client: SavedModelClient) -> None:
        stub.faults.hold_next(1)
        request = asyncio.create_task(client.predict({"x": ROW}, 1, TIMEOUT_S))
        await asyncio.to_thread(stub.faults.wait_for, lambda faults: faults.held == 1)
        stub.model.versions = {2: "AVAILABLE"}
        await poll(stub)
        assert await version_of(client) == "2"
        assert stub.closed == []
        stub.faults.release()
        assert (await request).version == "1"
        assert stub.closed == [1]

    use(stub, work)


def test_the_highest_number_counts_and_a_lower_one_is_no_news(stub: SavedModelStub) -> None:
    stub.model.versions = {9: "AVAILABLE", 10: "AVAILABLE"}

    async def work(client: SavedModelClient) -> None:
        assert await version_of(client) == "10"
        stub.model.versions[3] = "AVAILABLE"
        await poll(stub)
        assert await version_of(client) == "10"

    use(stub, work)


def test_the_version_that_is_left_answers_when_the_newest_is_removed(stub: SavedModelStub) -> None:
    """How a bad model is taken back, as with TensorFlow Serving."""
    stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}

    async def work(client: SavedModelClient) -> None:
        assert await version_of(client) == "2"
        stub.model.versions = {1: "AVAILABLE"}
        await poll(stub)
        assert await version_of(client) == "1"

    use(stub, work)


def test_a_version_asked_for_stays(stub: SavedModelStub) -> None:
    async def work(client: SavedModelClient) -> None:
        stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}
        assert await version_of(client) == "1"

    use(stub, work, stub.uri(version=1))


def test_a_broken_version_is_not_taken_and_said_once(stub: SavedModelStub, caplog: pytest.LogCaptureFixture) -> None:
    """It is not loaded again until its files have changed; the one below it is taken if that is new, too."""

    async def work(client: SavedModelClient) -> None:
        stub.broken = {3}
        stub.model.versions = {1: "AVAILABLE", 3: "AVAILABLE"}
        await poll(stub)
        await poll(stub)
        assert await version_of(client) == "1"
        stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE", 3: "AVAILABLE"}
        await poll(stub)
        assert await version_of(client) == "2"

    use(stub, work)
    assert stub.loads == [1, 3, 2]
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith("not taken: model model at stub://")
    assert "version 3 can't be loaded: DATA_LOSS: injected fault: the variables are cut short" in record.getMessage()


def test_a_broken_version_is_tried_again_when_its_files_have_changed(stub: SavedModelStub) -> None:
    """It may have been loaded while it was being written."""

    async def work(client: SavedModelClient) -> None:
        stub.broken = {2}
        stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}
        await poll(stub)
        stub.broken = set()
        stub.bytes_of_a_file = 2
        await poll(stub)
        assert await version_of(client) == "2"

    use(stub, work)


def test_a_version_that_is_being_written_waits(stub: SavedModelStub, caplog: pytest.LogCaptureFixture) -> None:
    async def work(client: SavedModelClient) -> None:
        stub.model.versions[2] = "LOADING"
        await poll(stub)
        assert await version_of(client) == "1"
        stub.model.versions[2] = "AVAILABLE"
        await poll(stub)
        assert await version_of(client) == "2"

    use(stub, work)
    assert caplog.records == []


def test_a_version_with_another_signature_is_not_taken(stub: SavedModelStub, caplog: pytest.LogCaptureFixture) -> None:
    """The job was built for the first one: decoding, batching and the outputs' names."""

    async def work(client: SavedModelClient) -> None:
        stub.model.signatures = StubModel.of({"x": TensorSpec("float64", (-1, 3))}, VECTOR, dict).signatures
        stub.model.versions[2] = "AVAILABLE"
        await poll(stub)
        assert await version_of(client) == "1"

    use(stub, work)
    assert stub.closed == [2, 1]
    assert "version 2 has another signature serving_default than this job was started with" in caplog.text


def test_a_signature_that_nobody_uses_may_change(stub: SavedModelStub) -> None:
    async def work(client: SavedModelClient) -> None:
        other = Signature("other", METHOD_PREDICT, VECTOR, VECTOR)
        stub.model.signatures["other"] = other, lambda inputs: inputs
        stub.model.versions[2] = "AVAILABLE"
        await poll(stub)
        assert await version_of(client) == "2"

    use(stub, work)


def test_a_folder_that_cannot_be_read_is_said_once(stub: SavedModelStub, caplog: pytest.LogCaptureFixture) -> None:
    async def work(client: SavedModelClient) -> None:
        await asyncio.to_thread(stub.down)
        await poll(stub)
        await poll(stub)
        assert await version_of(client) == "1"

    use(stub, work)
    [record] = caplog.records
    assert "version 1 goes on answering" in record.getMessage()


def test_the_newest_version_broken_at_the_start(stub: SavedModelStub, caplog: pytest.LogCaptureFixture) -> None:
    """A process that starts now answers as those do that started before: by the version below."""
    stub.broken = {2}
    stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}
    assert use(stub, version_of) == "1"
    assert "version 2 can't be loaded" in caplog.text


def test_nothing_but_a_broken_version(stub: SavedModelStub) -> None:
    stub.broken = {1}

    async def run() -> None:
        async with stub.client() as client:
            for _ in range(2):
                with pytest.raises(NotServedError, match="version 1 can't be loaded: DATA_LOSS"):
                    await client.metadata(TIMEOUT_S)

    asyncio.run(run())


def test_a_version_that_cannot_be_copied_now_is_tried_at_every_look(
    stub: SavedModelStub, caplog: pytest.LogCaptureFixture
) -> None:
    """And told of once."""

    async def work(client: SavedModelClient) -> None:
        stub.model.versions[2] = "AVAILABLE"
        stub.load_error = OSError("the disk is full")
        await poll(stub)
        await poll(stub)
        assert await version_of(client) == "1"
        stub.load_error = None
        await poll(stub)
        assert await version_of(client) == "2"

    use(stub, work)
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "version 2 can't be copied: the disk is full" in record.getMessage()
