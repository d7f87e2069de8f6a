"""The model in the worker on the real TensorFlow: each kind of signature, and models on disk that come and go."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from pipeline.embedded.digits import MODEL_DIR, load_digits
from tests.pipeline.embedded.servers import DTYPES, KINDS_DIR, TESTDATA, needs_testdata
from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.saved_model.client import SavedModelClient
from transforms.clients.saved_model.loading import Loader
from transforms.clients.saved_model.store import ModelStore
from transforms.clients.saved_model.uri import parse
from transforms.clients.tf_runtime.meta_graph import signatures_of
from transforms.clients.tf_runtime.quiet import quiet_log
from transforms.clients.tf_runtime.serving_error import ServingError
from transforms.clients.tf_runtime.session import TensorFlowSession
from transforms.clients.wire.tensorflow.example import build_example
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError, TransientError
from transforms.types import METHOD_REGRESS, Answer, TensorSpec

T = TypeVar("T")
TIMEOUT_S = 60.0
ROOT = Path(__file__).parents[3]


def use(uri: str, work: Callable[[ModelClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_client(uri) as client:
            await client.metadata(TIMEOUT_S)
            return await work(client)

    return asyncio.run(run())


def predict(model: Path, signature: str, rows: int, **inputs: np.ndarray) -> Answer:
    uri = f"saved_model://{model}?signature={signature}"
    return use(uri, lambda client: client.predict(inputs, rows, TIMEOUT_S))


def strings(*values: bytes | str) -> np.ndarray:
    return np.array(values, dtype=object)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def column(*values: float) -> np.ndarray:
    return floats(*values).reshape(-1, 1)


# ---------------------------------------------------------------------- signatures


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_both_ways(name: str) -> None:
    if name == "string":
        values = strings(b"", "ä€".encode(), b"\x00\xff")
    elif name == "bool":
        values = np.array([True, False, True])
    else:
        values = np.array([0, 1, 100], {"half": "float16", "bfloat16": "float32"}.get(name, name))
    [output] = predict(KINDS_DIR, f"echo_{name}", 3, x=values).outputs.values()
    assert isinstance(output, np.ndarray)
    assert output.dtype == values.dtype
    np.testing.assert_array_equal(output, values)


def test_text_other_byte_orders_and_views() -> None:
    assert list(predict(KINDS_DIR, "one_string", 2, text=np.array(["a", "b"])).outputs["shout"]) == [b"A", b"B"]
    assert list(predict(KINDS_DIR, "echo_float32", 2, x=np.array([1, 9, 2], ">f4")[::2]).outputs["y"]) == [1, 2]


def test_not_a_number_and_infinities() -> None:
    x = floats(np.nan, np.inf, -np.inf)
    np.testing.assert_array_equal(predict(KINDS_DIR, "echo_float32", 3, x=x).outputs["y"], x)


def test_several_inputs_and_outputs() -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([10, 20, 30])
    outputs = predict(KINDS_DIR, "serving_default", 3, a=a, b=b).outputs
    assert {name: list(values) for name, values in outputs.items()} == {"doubled": [20, 40, 60], "total": [11, 25, 39]}


def test_tables_and_defaults() -> None:
    assert list(predict(KINDS_DIR, "lookup", 2, text=strings(b"b", b"?")).outputs["id"]) == [2, -1]
    assert list(predict(KINDS_DIR, "defaults", 1, x=floats(1)).outputs["total"]) == [11]


def test_what_does_not_fit_the_rows_is_malformed() -> None:
    with pytest.raises(MalformedAnswerError, match="2 rows for a request of 4"):
        predict(KINDS_DIR, "halves", 4, x=floats(1, 2, 3, 4))


def test_a_scalar_output_is_one_value_for_the_whole_request() -> None:
    answer = predict(KINDS_DIR, "total", 2, x=floats(1, 2))
    assert {name: list(values) for name, values in answer.outputs.items()} == {answer.repeated_outputs[0]: [3, 3]}


def test_content_that_the_model_refuses_is_rejected() -> None:
    with pytest.raises(RejectedError, match=r"INVALID_ARGUMENT.*every x must be 0 or more"):
        predict(KINDS_DIR, "positive", 2, x=floats(4, -1))
    with pytest.raises(RejectedError, match="INVALID_ARGUMENT"):
        predict(KINDS_DIR, "serving_default", 1, a=strings(b"secret"), b=np.array([1]))
    with pytest.raises(RejectedError, match=r"Sent extra: \{c\}"):
        predict(KINDS_DIR, "serving_default", 1, a=np.ones((1, 2), np.float32), b=np.array([1]), c=np.array([1]))


def test_images_that_are_none() -> None:
    png = load_digits()[0].png
    with pytest.raises(RejectedError, match="Unknown image file format") as caught:
        predict(MODEL_DIR, "serving_default", 2, image_bytes=strings(png, b"secret-payload"))
    assert "secret-payload" not in str(caught.value)


def test_many_at_once() -> None:
    """Each request gets its own answer."""

    async def work(client: ModelClient) -> list[Answer]:
        rows = [np.full(1 + n % 5, n, np.float32) for n in range(200)]
        return await asyncio.gather(*(client.predict({"x": x}, len(x), TIMEOUT_S) for x in rows))

    for n, answer in enumerate(use(f"saved_model://{KINDS_DIR}?signature=echo_float32", work)):
        assert list(answer.outputs["y"]) == [n] * (1 + n % 5)


def test_a_run_is_stopped_at_its_time_limit() -> None:
    """A thousand images take longer than a millisecond."""
    images = strings(*[digit.png for digit in load_digits()[:1000]])

    async def work(client: ModelClient) -> None:
        with pytest.raises(TransientError, match="DEADLINE_EXCEEDED"):
            await client.predict({"image_bytes": images}, 1000, 0.001)
        assert len((await client.predict({"image_bytes": images}, 1000, TIMEOUT_S)).outputs["label"]) == 1000

    use(f"saved_model://{MODEL_DIR}", work)
    session = TensorFlowSession(MODEL_DIR / "1")
    signature = signatures_of(session.meta_graph_def)["serving_default"]
    feeds, fetches = {signature.inputs["image_bytes"].name: images}, [signature.outputs["label"].name]
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):  # not only the waiting for it
        session.run(feeds, fetches, 0.001)
    assert len(session.run(feeds, fetches)[0]) == 1000
    session.close()


# ---------------------------------------------------------------------- TensorFlow Serving's facts, by its own models


@needs_testdata
@pytest.mark.parametrize("shape", [(3,), (2, 2), (3, 1)])
def test_declared_shapes_are_not_enforced(shape: tuple[int, ...]) -> None:
    """Fact 12: [3] and [2, 2] succeed where [-1, 1] is declared."""
    x = np.ones(shape, np.float32)
    model = TESTDATA / "saved_model_half_plus_two_cpu"
    np.testing.assert_array_equal(predict(model, "serving_default", shape[0], x=x).outputs["y"], 0.5 * x + 2)


@needs_testdata
def test_wrong_dtypes_versions_and_signatures() -> None:
    """Fact 13."""
    model = TESTDATA / "saved_model_half_plus_two_2_versions"
    with pytest.raises(RejectedError, match="INVALID_ARGUMENT"):
        predict(model, "serving_default", 1, x=np.ones((1, 1), np.int32))
    for uri, said in (
        (f"saved_model://{model}?version=9", r"it has the versions 123 \(AVAILABLE\), 124 \(AVAILABLE\)"),
        (f"saved_model://{TESTDATA}/none", "is no folder of a model; expected .*/none/1/saved_model.pb"),
        (f"saved_model://{model}?signature=none", "has no signature none: it has classify_x2_to_y3, .*serving_default"),
        (f"saved_model://{model}?tags=train", r"NOT_FOUND: Could not find meta graph def matching supplied tags: { train }"),
    ):
        with pytest.raises(NotServedError, match=said):
            use(uri, lambda client: client.metadata(TIMEOUT_S))


@needs_testdata
@pytest.mark.parametrize("version", [123, 124])
def test_the_answer_names_the_version(version: int) -> None:
    """Fact 17; and a version's own folder is a model, too."""
    model = TESTDATA / "saved_model_half_plus_two_2_versions"
    for uri in (f"{model}?version={version}", f"{model}/00000{version}"):
        answer = use(f"saved_model://{uri}", lambda client: client.predict({"x": column(2)}, 1, TIMEOUT_S))
        assert answer.version == str(version)
    metadata = use(f"saved_model://{model}", lambda client: client.metadata(TIMEOUT_S))
    assert (metadata.model, metadata.version) == ("saved_model_half_plus_two_2_versions", "124")


@needs_testdata
def test_signatures_without_inputs_scalars_and_unknown_rank() -> None:
    """Fact 18: the counter counts only when it is asked to, not to warm up."""
    counter = f"saved_model://{TESTDATA}/saved_model_counter"

    async def run() -> list[float]:
        store = ModelStore(linger_s=0)
        clients = {
            name: SavedModelClient(Loader(parse(f"{counter}?signature={name}"), None), store=store)
            for name in ("get_counter", "incr_counter", "incr_counter_by", "reset_counter")
        }
        specs = {name: (await client.metadata(TIMEOUT_S)).signature.inputs for name, client in clients.items()}
        assert specs["incr_counter"] == {}
        assert specs["incr_counter_by"] == {"delta": TensorSpec("float32", None)}
        calls = [("get_counter", {}), ("incr_counter", {}), ("incr_counter_by", {"delta": np.float32(2.5)})]
        seen = []
        for name, inputs in [*calls, ("reset_counter", {}), ("get_counter", {})]:
            given = {alias: np.asarray(value) for alias, value in inputs.items()}
            seen.append(float((await clients[name].predict(given, 1, TIMEOUT_S)).outputs["output"][0]))
        for client in clients.values():
            await client.close()
        return seen

    assert asyncio.run(run()) == [0, 1, 3.5, 0, 0]
    answer = predict(TESTDATA / "saved_model_half_plus_three", "serving_default", 1, x=np.array(4, np.float32))
    assert list(answer.outputs["y"]) == [5]


@needs_testdata
def test_examples() -> None:
    """Classify and Regress take serialized ``tf.Example`` records, whatever their declared input is."""
    model = TESTDATA / "saved_model_half_plus_two_cpu"
    records = strings(build_example({"x": 1.0}), build_example({"x": 5.0}))
    outputs = predict(model, "classify_x_to_y", 2, examples=records).outputs
    assert outputs == {"classes": [[""], [""]], "scores": [[2.5], [4.5]]}
    assert list(predict(model, "regress_x_to_y2", 2, examples=records).outputs["value"]) == [3.5, 5.5]
    metadata = use(f"saved_model://{model}?signature=regress_x_to_y", lambda client: client.metadata(TIMEOUT_S))
    assert metadata.signature.method == METHOD_REGRESS
    assert metadata.signature.takes_examples
    with pytest.raises(RejectedError, match=r"INVALID_ARGUMENT.*[Cc]ould not parse example input") as caught:
        predict(model, "classify_x_to_y", 1, examples=strings(b"\xffsecret-payload"))
    assert "secret-payload" not in str(caught.value)


# ---------------------------------------------------------------------- folders


def install(base: Path, version: int, source: Path = KINDS_DIR / "1") -> None:
    """Puts a version there at once, as everybody should: copied beside, then renamed."""
    shutil.copytree(source, base / "incoming")
    (base / "incoming").rename(base / str(version))


def test_versions_on_disk_come_and_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(tmp_path, 1)
    store = ModelStore(linger_s=0)

    async def run() -> None:
        uri = f"saved_model://{tmp_path}?signature=echo_float32"
        async with SavedModelClient(Loader(parse(uri), None), 3600.0, store) as client:

            async def answered_by() -> str:
                return (await client.predict({"x": floats(1)}, 1, TIMEOUT_S)).version

            assert (await client.metadata(TIMEOUT_S)).version == "1"
            install(tmp_path, 2)
            store.poll()
            assert await answered_by() == "2"
            shutil.rmtree(tmp_path / "1")
            install(tmp_path, 3)
            (tmp_path / "3/saved_model.pb").write_bytes((tmp_path / "2/saved_model.pb").read_bytes()[:5000])
            install(tmp_path, 4, MODEL_DIR / "1")
            store.poll()
            assert await answered_by() == "2"
            shutil.rmtree(tmp_path / "4")
            install(tmp_path, 5)
            store.poll()
            assert await answered_by() == "5"

    asyncio.run(run())
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "version 4 has another signature echo_float32 than" in warnings[0]
    assert "version 3 can't be loaded: " in warnings[1]


def test_a_remote_model_is_copied_and_answers(tmp_path: Path) -> None:
    """Its copy is there as long as it is loaded: a table's asset may be read at any time."""
    install(tmp_path, 1)
    copied: list[Path] = []

    class Mounted:
        """A scheme over a local folder."""

        def listing(self, folder: str) -> dict[str, int]:
            base = tmp_path / folder.removeprefix("mounted://m").strip("/")
            return {str(p.relative_to(base)): p.stat().st_size for p in base.rglob("*") if p.is_file()}

        def copy(self, folder: str, target: Path) -> None:
            shutil.copytree(tmp_path / folder.removeprefix("mounted://m").strip("/"), target, dirs_exist_ok=True)
            copied.append(target)

    async def run() -> None:
        loader = Loader(parse("saved_model://mounted://m?signature=echo_float32"), Mounted())
        async with SavedModelClient(loader, store=ModelStore(linger_s=0)) as client:
            assert (await client.metadata(TIMEOUT_S)).version == "1"
            assert copied[0].is_dir()
            assert list((await client.predict({"x": floats(3)}, 1, TIMEOUT_S)).outputs["y"]) == [3]
        assert not copied[0].exists()

    asyncio.run(run())


# ---------------------------------------------------------------------- TensorFlow itself


def test_without_tensorflow_it_says_what_to_install(tmp_path: Path) -> None:
    """An interpreter that finds neither TensorFlow nor ml_dtypes, which comes with it."""
    code = f"""
import asyncio, importlib.util, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "ml_dtypes"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "tensorflow" else found(name, *more)
from transforms.clients import open_client
from transforms.errors import ConfigError
async def main():
    async with open_client("saved_model://{KINDS_DIR}") as client:
        try:
            await client.metadata(10)
        except ConfigError as error:
            print(error)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    expected = "saved_model:// needs packages that are not here (tensorflow): pip install 'kafka-model-scoring[embedded]'"
    assert done.stdout.strip() == f"--model=saved_model://{KINDS_DIR}: {expected}", done


def test_neither_the_python_package_nor_its_log() -> None:
    """The C library alone, in the process that runs the pipeline; and what it writes while it is loaded stays off stderr."""
    code = f"""
import asyncio, os, sys
from transforms.clients import open_client
async def main():
    async with open_client("saved_model://{MODEL_DIR}") as client:
        await client.metadata(30)
asyncio.run(main())
os.write(2, b"still there")
print([name for name in ("tensorflow", "keras", "apache_beam") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "still there")


def test_options_are_carried_to_the_worker() -> None:
    client = open_client(f"saved_model://{MODEL_DIR}", ClientOptions(model_poll_s=7))
    assert isinstance(client, SavedModelClient)
    assert client._poll_s == 7


def test_what_others_write_while_the_library_loads_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_log():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
        os.write(2, b"I0000 00:00:1795510230.054812    5011 port.cc:153] oneDNN custom operations are on.\nsomebody else\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "somebody else\nafterwards\n"
