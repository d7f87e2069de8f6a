"""Imports run one way, from the table ``LAYERS`` downwards, without circles; and heavy ones only where they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

ROOT = Path(__file__).parent.parent
BEAM, KAFKA, TENSORFLOW = "apache_beam", "confluent_kafka", "tensorflow"


LAYERS = (
    ("transforms.types", "transforms.errors", "transforms.printable", "transforms.hosts", "transforms.tls"),
    ("transforms.private_folder",),
    ("transforms.outcomes", "transforms.headers", "transforms.dead_letter_classes", "transforms.memory"),
    ("transforms.dead_letter", "transforms.internal_errors", "transforms.own_code"),
    ("transforms.secret_manager", "transforms.retry", "transforms.guard", "transforms.cache"),
    ("transforms.answer_body", "transforms.request_headers"),
    ("transforms.observe", "transforms.tracing", "transforms.child_process"),
    (
        "transforms.clients.model_files",
        "transforms.clients.uri",
        "transforms.clients.imported",
        "transforms.beam_files",
        "transforms.coders",
    ),
    ("transforms.clients.base",),
    ("transforms.clients.selection", "transforms.clients.checked"),
    ("transforms.clients.mlmodel",),
    ("transforms.clients.declared",),
    ("transforms.clients.registry",),
    ("transforms.clients.wire",),
    ("transforms.clients.tf_runtime",),
    ("transforms.formats",),
    ("transforms.clients.json_bodies",),
    (
        "transforms.clients.tfserving",
        "transforms.clients.open_inference",
        "transforms.clients.multi_model_server",
        "transforms.clients.openai",
        "transforms.clients.vertex",
        "transforms.clients.saved_model",
        "transforms.clients.json_http",
        "transforms.clients.sagemaker",
        "transforms.clients.mlflow",
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

FACADES = {
    "transforms": "what users import; it loads nothing until a name is asked for, so that its modules do not pay for it",
    "transforms.clients": "what an outside protocol and the steps of the flow import; below it is the registry, no client",
    "transforms.handlers": "what users import; its modules are loaded together",
    "transforms.kafka.beam.java": "JavaKafka has a part of the implementation in each of its modules",
    "transforms.testing.contract": "ClientContract is the sum of its modules",
    "pipeline.cli.rules": "RULES is the list of what its modules have",
}
"""The packages whose ``__init__`` imports modules of ours, and why. Whoever imports a module of theirs loads them all."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: Path | str, *, at_the_top: bool = False) -> Iterator[str]:
    """Every module that a file, or code, imports: in functions and for type checkers too unless ``at_the_top``.

    What ``import_module`` is called with counts as well, if it is written out.
    """

    def walk(parent: ast.AST) -> Iterator[ast.AST]:
        for node in ast.iter_child_nodes(parent):
            if at_the_top and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if at_the_top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            yield node
            yield from walk(node)

    for node in walk(ast.parse(source.read_text(encoding="utf-8") if isinstance(source, Path) else source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative imports would hide what is imported"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "name")]
            for name in (value.value for value in given if isinstance(value, ast.Constant)):
                assert isinstance(name, str), f"{source}: {ast.unparse(node)}"
                assert not name.startswith("."), f"{source}: relative imports would hide what is imported"
                yield name


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


def test_every_module_has_one_layer() -> None:
    """Of two rows the lower one would not hold."""
    names = [name for row in LAYERS for name in row]
    assert len(names) == len(set(names))


def layer_of(module: str) -> tuple[int, str]:
    """The row and the entry of ``LAYERS`` that a module belongs to: the longest name that fits."""
    fitting = [(len(name), row, name) for row, names in enumerate(LAYERS) for name in names if under(module, name)]
    assert fitting, f"{module} is in no layer"
    _, row, name = max(fitting)
    return row, name


def code() -> dict[str, str]:
    """Module to code, of all that users get."""
    return {module_of(path): path.read_text(encoding="utf-8") for top in ("transforms", "pipeline") for path in files(top)}


def arrows(code: dict[str, str]) -> dict[str, set[str]]:
    """Module to those of ours that it imports, in functions and for type checkers too.

    ``import a.b.c`` runs ``a/b/__init__.py`` as well: what that imports counts as imported, except inside ``a.b`` itself and
    for ``transforms``, which loads nothing.
    """
    direct = {name: {module for module in imports(text) if module in code} for name, text in code.items()}
    found = {}
    for name, modules in direct.items():
        run = {package for module in modules for package in packages_of(module) if package in FACADES}
        run -= {"transforms", name, *packages_of(name)}
        found[name] = modules.union(*(direct[package] for package in run)) - {name}
    return found


def packages_of(module: str) -> list[str]:
    """The packages that a module is in."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def upward_imports(code: dict[str, str]) -> list[str]:
    """Those that break the table ``LAYERS``."""
    found = []
    for name, modules in arrows(code).items():
        if under(name, "transforms.testing"):
            continue
        row, entry = layer_of(name)
        for module in sorted(modules):
            if not under(module, "transforms.testing"):
                other_row, other = layer_of(module)
                if other_row > row or (other_row == row and other != entry):
                    found.append(f"{name} imports {module}")
    return found


def facade_imports(code: dict[str, str]) -> list[str]:
    """Those from ``transforms`` itself: it is for users, and each name of it may come from any layer."""
    return [f"{name} imports transforms" for name, text in code.items() if "transforms" in imports(text)]


def importing_packages(code: dict[str, str]) -> set[str]:
    """Those whose ``__init__`` imports modules of ours."""
    packages = {package for name in code for package in packages_of(name)}
    return {package for package in packages if any(module in code for module in imports(code[package]))}


def circle(code: dict[str, str]) -> tuple[str, ...]:
    """Modules each of which imports the next, the first again at the end; empty if there are none."""
    graph, done = arrows(code), set[str]()

    def visit(name: str, above: tuple[str, ...]) -> tuple[str, ...]:
        if name in above:
            return (*above[above.index(name) :], name)
        if name not in done:
            for module in sorted(graph[name]):
                if found := visit(module, (*above, name)):
                    return found
            done.add(name)
        return ()

    return next((found for name in graph if (found := visit(name, ()))), ())


def test_imports_run_one_way() -> None:
    """Counting those in functions and for type checkers."""
    assert upward_imports(code()) == []


def test_nothing_of_ours_imports_the_facade() -> None:
    assert facade_imports(code()) == []


def test_only_a_facade_imports_in_its_init() -> None:
    assert importing_packages(code()) == set(FACADES)


def test_no_circles() -> None:
    """Among the modules of ours, counting imports in functions and for type checkers."""
    assert circle(code()) == ()


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("transforms.types", "def f(): from transforms import Predict", "transforms.types imports transforms"),
        ("transforms.types", "import importlib; importlib.import_module('pipeline.launch')", "imports pipeline.launch"),
        ("transforms.types", "f = lambda: __import__('pipeline.job')", "transforms.types imports pipeline.job"),
        ("transforms.types", "def f():\n with a as b:\n  import pipeline.job", "transforms.types imports pipeline.job"),
        ("transforms.types", "match 1:\n case 1: import pipeline.job", "transforms.types imports pipeline.job"),
        ("transforms.errors", "import transforms.clients.uri", "transforms.errors imports transforms.clients.registry"),
        (
            "transforms.formats.npy",
            "import transforms.kafka.config",
            "transforms.formats.npy imports transforms.kafka.config",
        ),
    ],
)
def test_an_import_upwards_is_seen_however_it_is_written(module: str, line: str, said: str) -> None:
    """``said`` ends one of the lines that the rule has to say."""
    changed = code()
    changed[module] += f"\n{line}\n"
    assert any(offence.endswith(said) for offence in upward_imports(changed))
    assert facade_imports(changed) == (["transforms.types imports transforms"] if "from transforms import" in line else [])


@pytest.mark.parametrize("line", ["from transforms import Predict", "def f():\n    import transforms"])
def test_the_pipeline_may_not_import_the_facade_either(line: str) -> None:
    assert facade_imports(code() | {"pipeline.job": line}) == ["pipeline.job imports transforms"]


def test_an_import_in_an_init_is_seen() -> None:
    """All of its package's modules load it: it is in the table, with a reason, or it is a fault."""
    changed = code()
    changed["transforms.kafka.native"] += "\nfrom transforms.kafka.native.source import ReadFromKafka\n"
    assert importing_packages(changed) - set(FACADES) == {"transforms.kafka.native"}


def test_a_circle_through_a_facade_is_seen() -> None:
    """``transforms.secret_manager`` is imported by ``transforms/clients/__init__.py``."""
    changed = code()
    changed["transforms.errors"] += "\ndef f(): from transforms.clients.uri import split\n"
    assert circle(changed)


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
    """So that a wrong flag is answered at once. Reading a model's URI loads its protocol, here one without libraries."""
    flags = ["--bootstrap_servers=h:1", "--input_topic=a", "--output_topic=b", "--model=saved_model:///m"]
    code = f"from pipeline.cli.options import parse\nparse({flags})"
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
    assert loaded(check + "check_uri('sagemaker://e?region=eu-west-1')", "grpc", "botocore", BEAM, KAFKA, "tensorflow") == []


def test_vertex_loads_no_more_of_googles_packages_than_it_speaks() -> None:
    """The top package, google.cloud.aiplatform, takes BigQuery and Cloud Storage along, and seconds."""
    opened = "from transforms.clients import open_client\nopen_client('vertex://p/r/e{}')"
    heavy = ("google.cloud.aiplatform", "google.cloud.storage", "google.cloud.bigquery", "tensorflow", BEAM, KAFKA)
    assert loaded(opened.format(""), "google.cloud.aiplatform_v1", *heavy) == ["google.cloud.aiplatform_v1"]
    assert loaded(opened.format("?transport=rest"), "grpc", "google.cloud.aiplatform_v1", *heavy) == []
