"""Imports run one way: pipeline → transforms → transforms.clients → types and errors; and heavy ones only where needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from transforms.testing.tfserving_grpc_stub import TfServingGrpcStub

ROOT = Path(__file__).parent.parent
BEAM, KAFKA, TENSORFLOW = "apache_beam", "confluent_kafka", "tensorflow"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, at_the_top: bool = False) -> Iterator[str]:
    """Every module that a file imports, in functions too unless ``at_the_top``; not what is for type checkers alone."""

    def walk(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if at_the_top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            yield node
            for _, value in ast.iter_fields(node):
                if isinstance(value, list) and value and isinstance(value[0], (ast.stmt, ast.ExceptHandler, ast.match_case)):
                    yield from walk(value)

    for node in walk(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports would hide what is imported"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def under(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offences(folder: str, *forbidden: str, allowed: tuple[str, ...] = (), at_the_top: bool = False) -> list[str]:
    return [
        f"{module_of(path)} imports {module}"
        for path in files(folder)
        for module in imports(path, at_the_top=at_the_top)
        if under(module, *forbidden) and not under(module, *allowed)
    ]


def test_transforms_never_import_the_pipeline_nor_the_tests() -> None:
    """They are for anybody's pipeline."""
    assert offences("transforms", "pipeline", "tests", "bench", "examples") == []


def test_the_pipeline_never_imports_the_tests_nor_the_stubs() -> None:
    assert offences("pipeline", "tests", "bench", "examples", "transforms.testing") == []
    for path in files("transforms"):
        if "testing" not in path.parts:
            assert not [module for module in imports(path) if under(module, "transforms.testing")], path


def test_clients_know_neither_beam_nor_kafka_and_of_ours_only_types_and_errors() -> None:
    assert offences("transforms/clients", BEAM, KAFKA) == []
    allowed = ("transforms.clients", "transforms.types", "transforms.errors", "transforms.secret_manager")
    assert offences("transforms/clients", "transforms", allowed=allowed) == []


def test_the_runtime_of_tensorflow_stands_below_the_clients() -> None:
    """The client in the worker and the embedded server stand on it; of the clients it has the description of messages."""
    below = ("transforms.clients.tf_runtime", "transforms.clients.tfserving_messages")
    assert offences("transforms/clients/tf_runtime", "transforms", allowed=below) == []


def test_secrets_stand_right_above_the_errors() -> None:
    """Clients, Kafka and formats all refer to them."""
    found = imports(ROOT / "transforms" / "secret_manager.py")
    assert [name for name in found if under(name, "transforms", BEAM, KAFKA) and not under(name, "transforms.errors")] == []


def test_types_and_errors_stand_at_the_bottom() -> None:
    for name in ("types", "errors"):
        found = [
            module for module in imports(ROOT / "transforms" / f"{name}.py") if under(module, "transforms", BEAM, KAFKA)
        ]
        assert found == []


@pytest.mark.parametrize(
    "name",
    [
        "batching",
        "decode",
        "encode",
        "casting",
        "codecs",
        "labels",
        "dead_letter",
        "retry",
        "limiter",
        "dispatch",
        "observe",
        "ask",
        "features",
        "outcomes",
    ],
)
def test_what_needs_no_beam_and_no_kafka_has_none(name: str) -> None:
    found = [module for module in imports(ROOT / "transforms" / f"{name}.py") if under(module, BEAM, KAFKA)]
    assert found == []


def test_transforms_that_know_models_know_no_kafka_and_the_reverse() -> None:
    models = ("transforms.clients", "transforms.predict", "transforms.dispatch", "transforms.decode", "transforms.encode")
    assert offences("transforms/kafka", *models) == []
    for name in ("predict", "dispatch", "stages", "decode", "encode", "scorer", "predict_elements", "records_out"):
        assert not [m for m in imports(ROOT / "transforms" / f"{name}.py") if under(m, "transforms.kafka", KAFKA)], name


def test_tensorflow_is_never_imported_at_the_top() -> None:
    """It takes seconds; only what really needs it imports it, when it needs it."""
    assert offences("transforms", TENSORFLOW, at_the_top=True) == []
    assert offences("transforms", TENSORFLOW) == []
    at_top = [line for line in offences("pipeline", TENSORFLOW, at_the_top=True) if "pipeline.embedded" not in line]
    assert at_top == []


def test_no_circles() -> None:
    """Among the modules of ours, counting only imports at the top, which are those that could fail."""
    known = {module_of(path): path for folder in ("transforms", "pipeline") for path in files(folder)}
    graph = {
        name: {module for module in imports(path, at_the_top=True) if module in known and module != name}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join((*above[above.index(name) :], name))
        if name not in done:
            for module in sorted(graph[name]):
                visit(module, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


# ---------------------------------------------------------------------- what is really loaded


def loaded(code: str, *packages: str) -> list[str]:
    """Which of the packages a fresh interpreter has loaded after running ``code``."""
    script = f"{code}\nimport sys\nprint([name for name in {packages!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


def test_the_package_itself_loads_nothing_until_a_name_is_asked_for() -> None:
    assert loaded("import transforms", BEAM, KAFKA, "numpy", "grpc", "aiohttp") == []
    assert loaded("from transforms import KafkaConfig, Failure", BEAM, KAFKA, "grpc", "aiohttp") == []


def test_every_public_name_is_found() -> None:
    code = "import transforms\nassert all(getattr(transforms, name).__name__ == name for name in transforms.__all__)"
    assert loaded(code, BEAM, "tensorflow") == [BEAM]
    assert loaded("import transforms.handlers", KAFKA, "tensorflow") == []


def test_flags_are_checked_without_loading_beam() -> None:
    """So that a wrong flag is answered at once."""
    code = "from pipeline import options\noptions.parse(['--bootstrap_servers=h:1','--input_topic=a','--output_topic=b'])"
    assert loaded(code, BEAM, "tensorflow", "grpc", "aiohttp") == []


def test_with_a_grpc_model_tensorflow_is_never_loaded() -> None:
    """Everything that such a job imports, one request over the wire, decode and encode included."""
    with TfServingGrpcStub() as stub:
        code = f"""
import asyncio, pipeline.direct, pipeline.launch
from transforms.clients import open_client
from transforms.decode import Decoder
from transforms.encode import Encoder
from transforms.types import KafkaRecord, AnsweredSegment, PredictedChunk
async def main():
    async with open_client({stub.uri()!r}) as client:
        metadata = await client.metadata(10)
        chunk = Decoder(metadata.signature).decode([KafkaRecord("t", 0, 0, 0, None, b"[1.0]", [])])
        [segment] = chunk.segments
        answer = await client.predict(segment.tensors, 1, 10)
        answered = AnsweredSegment(segment.rows, answer.outputs, answer.version, 1.0, 1)
        [output] = Encoder("o", "d", "m").encode(PredictedChunk(chunk.records, [answered], {{}}))
        assert output.value == b'{{"y":[2.5]}}', output.value
asyncio.run(main())
"""
        assert loaded(code, "tensorflow", "tensorflow_serving", "keras", BEAM) == [BEAM]


def test_a_client_loads_only_its_own_protocol() -> None:
    check = "from transforms.clients import check_uri\n"
    assert loaded(check + "check_uri('grpc://h:1/m')", "aiohttp", BEAM, KAFKA) == []
    assert loaded(check + "check_uri('http://h:1/v1/models/m')", "grpc", BEAM, KAFKA) == []
    assert loaded(check + "check_uri('saved_model:///m')", "grpc", "aiohttp", "ml_dtypes", BEAM, KAFKA) == []
    assert loaded(check + "check_uri('oip+grpc://h:1/m')", "aiohttp", BEAM, KAFKA, "tensorflow") == []
    assert loaded(check + "check_uri('oip+http://h:1/m')", "grpc", BEAM, KAFKA, "tensorflow") == []
    google = ("google.auth", "google.cloud.aiplatform_v1", "google.cloud.aiplatform")
    assert loaded(check + "check_uri('vertex://p/r/e')", "aiohttp", "grpc", *google, BEAM, KAFKA) == []


def test_vertex_loads_no_more_of_googles_packages_than_it_speaks() -> None:
    """The top package, google.cloud.aiplatform, takes BigQuery and Cloud Storage along, and seconds."""
    opened = "from transforms.clients import open_client\nopen_client('vertex://p/r/e{}')"
    heavy = ("google.cloud.aiplatform", "google.cloud.storage", "google.cloud.bigquery", "tensorflow", BEAM, KAFKA)
    assert loaded(opened.format(""), "google.cloud.aiplatform_v1", *heavy) == ["google.cloud.aiplatform_v1"]
    assert loaded(opened.format("?transport=rest"), "grpc", "google.cloud.aiplatform_v1", *heavy) == []
