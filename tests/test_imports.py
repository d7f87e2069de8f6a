"""Imports run one way, from the table ``LAYERS`` downwards, without circles; and heavy ones only where they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from transforms.testing.tfserving_grpc_stub import TfServingGrpcStub

ROOT = Path(__file__).parent.parent
BEAM, KAFKA, TENSORFLOW = "apache_beam", "confluent_kafka", "tensorflow"


LAYERS = (
    ("transforms.types", "transforms.errors"),
    ("transforms.outcomes", "transforms.headers", "transforms.dead_letter_classes"),
    ("transforms.dead_letter",),
    ("transforms.secret_manager", "transforms.retry", "transforms.guard", "transforms.cache"),
    ("transforms.observe", "transforms.child_process"),
    ("transforms.clients.model_files", "transforms.clients.uri", "transforms.beam_files", "transforms.coders"),
    ("transforms.clients.base",),
    ("transforms.clients.selection",),
    ("transforms.clients.registry",),
    ("transforms.clients.wire",),
    ("transforms.clients.tf_runtime",),
    (
        "transforms.clients.tfserving",
        "transforms.clients.open_inference",
        "transforms.clients.multi_model_server",
        "transforms.clients.vertex",
        "transforms.clients.saved_model",
        "transforms.formats",
        "transforms.kafka",
    ),
    ("transforms.clients",),
    ("transforms.decode", "transforms.encode"),
    ("transforms.stages",),
    ("transforms.predict",),
    ("transforms.handlers",),
    ("transforms",),
    ("pipeline",),
)
"""From the bottom up: a module may import what is below it, and its own package; never another of the same row."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, at_the_top: bool = False) -> Iterator[str]:
    """Every module that a file imports, in functions and for type checkers too unless ``at_the_top``."""

    def walk(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
        for node in nodes:
            if at_the_top and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
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


def layer_of(module: str) -> tuple[int, str]:
    """The row and the entry of ``LAYERS`` that a module belongs to: the longest name that fits."""
    fitting = [(len(name), row, name) for row, names in enumerate(LAYERS) for name in names if under(module, name)]
    assert fitting, f"{module} is in no layer"
    _, row, name = max(fitting)
    return row, name


def test_imports_run_one_way() -> None:
    """Counting those in functions and for type checkers."""
    known = {module_of(path): path for folder in ("transforms", "pipeline") for path in files(folder)}
    upwards = []
    for name, path in known.items():
        if under(name, "transforms.testing") or name == "transforms":  # the second only names what may be imported from it
            continue
        row, entry = layer_of(name)
        for module in imports(path):
            if module in known and module != "transforms":
                other_row, other = layer_of(module)
                if other_row > row or (other_row == row and other != entry):
                    upwards.append(f"{name} imports {module}")
    assert upwards == []


def test_clients_know_neither_beam_nor_kafka() -> None:
    assert offences("transforms/clients", BEAM, KAFKA) == []


def test_kafka_by_librdkafka_and_by_beam_know_nothing_of_each_other() -> None:
    assert offences("transforms/kafka/native", "transforms.kafka.beam", "transforms.kafka.admin") == []
    assert offences("transforms/kafka/beam", "transforms.kafka.native", "transforms.kafka.admin", KAFKA) == []
    assert offences("transforms/kafka/admin", "transforms.kafka.native", "transforms.kafka.beam") == []


BEAM_FREE = ("types", "errors", "retry", "observe", "guard", "secret_manager", "decode", "encode", "predict", "formats")
BEAM_IN = (
    "transforms.predict.dofn",
    "transforms.predict.scorer",
    "transforms.predict.transform",
    "transforms.predict.stateful_batching",
    "transforms.encode.transform",
)


def test_only_what_is_a_beam_transform_imports_beam_and_none_of_it_kafka() -> None:
    for name in BEAM_FREE:
        folder = ROOT / "transforms" / name
        for path in files(f"transforms/{name}") if folder.is_dir() else [folder.with_suffix(".py")]:
            forbidden = (KAFKA,) if module_of(path) in BEAM_IN or name == "formats" else (BEAM, KAFKA)
            if name == "formats":
                forbidden = (BEAM,)  # the schema registry's client is confluent-kafka's
            assert not [module for module in imports(path) if under(module, *forbidden, "transforms.kafka")], path


def test_tensorflow_is_never_imported_at_the_top() -> None:
    """It takes seconds; only what really needs it imports it, when it needs it."""
    assert offences("transforms", TENSORFLOW, at_the_top=True) == []
    assert offences("transforms", TENSORFLOW) == []
    at_top = [line for line in offences("pipeline", TENSORFLOW, at_the_top=True) if "pipeline.embedded" not in line]
    assert at_top == []


def test_no_circles() -> None:
    """Among the modules of ours, counting imports in functions and for type checkers."""
    known = {module_of(path): path for folder in ("transforms", "pipeline") for path in files(folder)}
    graph = {
        name: {module for module in imports(path) if module in known and module != name} for name, path in known.items()
    }
    graph["transforms"] = set()  # it only names what may be imported from it
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
    code = "from pipeline.cli.options import parse\nparse(['--bootstrap_servers=h:1','--input_topic=a','--output_topic=b'])"
    assert loaded(code, BEAM, "tensorflow", "grpc", "aiohttp") == []


def test_a_job_without_metrics_loads_no_prometheus() -> None:
    served = "from pipeline.reporting.metrics import serve_metrics\nwith serve_metrics(0, open_rows(None, 1)): pass"
    code = "import pipeline.launch\nfrom pipeline.process.stats import open_rows\n"
    assert loaded(code, "prometheus_client") == []
    assert loaded(code + served, "prometheus_client") == ["prometheus_client"]


def test_with_a_grpc_model_tensorflow_is_never_loaded() -> None:
    """Everything that such a job imports, one request over the wire, decode and encode included."""
    with TfServingGrpcStub() as stub:
        code = f"""
import asyncio, pipeline.runners.direct, pipeline.launch
from transforms.clients import open_client
from transforms.decode.decoder import Decoder
from transforms.encode.encoder import Encoder
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
