"""Imports run one way, from the table ``LAYERS`` downwards, without circles; what is loaded: ``test_loading.py``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BEAM, KAFKA, TENSORFLOW = "apache_beam", "confluent_kafka", "tensorflow"


LAYERS = (
    (
        "transforms.types",
        "transforms.errors",
        "transforms.printable",
        "transforms.exact_json",
        "transforms.json_kinds",
        "transforms.hosts",
        "transforms.text_files",
        "transforms.tls",
        "transforms.aws",
    ),
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
    ("transforms.handlers", "transforms.beam_yaml"),
    ("transforms",),
    ("pipeline", "pipeline.telemetry.settings"),
    ("pipeline.job",),
    ("pipeline.process",),
    ("pipeline.telemetry",),
    ("pipeline.cli", "pipeline.console"),
    ("pipeline.build", "pipeline.embedded", "pipeline.reporting"),
    ("pipeline.demo", "pipeline.runners"),
    ("pipeline.worker", "pipeline.dataflow_job"),
    ("pipeline.checking",),
    ("pipeline.dead_letter_tools", "pipeline.starting"),
    ("pipeline.launch",),
    ("pipeline.score",),
    ("pipeline.__main__", "pipeline.check", "pipeline.dead_letters", "pipeline.replay"),
)
"""From the bottom up: a module may import what is below it, and its own package; never another of the same row."""

UPWARD = {
    (
        "pipeline.cli",
        "pipeline.runners",
    ): "what Flink and Dataflow take stands with the runner, and the flags' rules ask it",
    ("pipeline.build", "pipeline.runners"): "the graph with Java's transforms stands with the runners that need Java",
}
"""Rooms that import a higher one all the same, and why: a circle of rooms, with none of modules in it."""

FACADES = {
    "transforms": "what users import; it loads nothing until a name is asked for, so that its modules do not pay for it",
    "transforms.clients": "what an outside protocol and the steps of the flow import; below it is the registry, no client",
    "transforms.beam_yaml": "what the providers of a YAML pipeline name",
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
    """Those that break the table ``LAYERS``, but for what ``UPWARD`` allows."""
    return [text for text, rooms in upward(code) if rooms not in UPWARD]


def upward(code: dict[str, str]) -> list[tuple[str, tuple[str, str]]]:
    """Each import that does not run downwards, and the two entries of ``LAYERS`` between which it runs."""
    found = []
    for name, modules in arrows(code).items():
        if under(name, "transforms.testing"):
            continue
        row, entry = layer_of(name)
        for module in sorted(modules):
            if not under(module, "transforms.testing"):
                other_row, other = layer_of(module)
                if other_row > row or (other_row == row and other != entry):
                    found.append((f"{name} imports {module}", (entry, other)))
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


def test_what_may_run_upwards_does() -> None:
    assert {rooms for _, rooms in upward(code())} == set(UPWARD)


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
