"""The console script works in any folder, and says what is missing when only the library is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.child_process import module_command, module_environ

SCRIPT = "import sys; sys.argv[0] = '/venv/bin/kafka-model-scoring'; from pipeline.console import run; run()"
"""What an entry point's script does."""

WITHOUT = """
import runpy, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("rich", "yaml"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util as u; find = u.find_spec
u.find_spec = lambda name: None if name in ("rich", "yaml") else find(name)
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Runs ``python -m MODULE`` as if some of the program's packages were not installed."""

ENTRY_POINTS = ("pipeline", "pipeline.check", "pipeline.dataflow_job", "pipeline.embedded")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules of somebody else."""
    for name in ("transforms", "pipeline"):
        (tmp_path / f"{name}.py").write_text('raise SystemExit("somebody else\'s module was imported")\n')
    return tmp_path


def run(folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs there; this repository is found by ``PYTHONPATH``, as an installed package is by the environment."""
    environ = os.environ | module_environ()
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ, timeout=120, check=False)


def script(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return run(folder, [sys.executable, "-P", "-c", SCRIPT, *argv])


def test_python_m_takes_the_folders_own_modules(folder: Path) -> None:
    """Why there is a script: so Python works, and this is said in the help."""
    done = run(folder, [sys.executable, "-m", "pipeline", "--help"])
    assert "somebody else's module was imported" in done.stderr
    assert "kafka-model-scoring" in script(folder, "--help").stdout


@pytest.mark.parametrize(
    ("argv", "prog"),
    [
        (("--help",), "kafka-model-scoring "),
        (("check", "--help"), "kafka-model-scoring check "),
        (("embedded", "--help"), "kafka-model-scoring embedded "),
        (("dataflow_job", "--help"), "kafka-model-scoring dataflow_job "),
    ],
)
def test_every_command_works_in_any_folder(folder: Path, argv: tuple[str, ...], prog: str) -> None:
    done = script(folder, *argv)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {prog}")


@pytest.mark.parametrize(
    ("module", "argv", "said"),
    [
        ("pipeline.worker", (), "error: python -m pipeline.worker is started by python -m pipeline --workers=N"),
        ("pipeline.worker", ("--model=x",), "it has no flags"),
        ("pipeline.embedded", ("--grpc_port=x",), "error: "),
    ],
)
def test_child_processes_work_in_any_folder(folder: Path, module: str, argv: tuple[str, ...], said: str) -> None:
    """The workers of ``--workers`` and the embedded model server, given nothing to do: ours begin, and end at once."""
    done = run(folder, module_command(module, *argv))
    assert "somebody else's" not in done.stderr
    assert said in done.stderr


def test_help_of_what_people_need_not_start(tmp_path: Path) -> None:
    """No trace and no silence: what starts the worker, and the same as the console script."""
    worker, console = (run(tmp_path, [sys.executable, "-m", f"pipeline.{name}", "--help"]) for name in ("worker", "console"))
    assert (worker.returncode, worker.stderr) == (console.returncode, console.stderr) == (0, "")
    assert worker.stdout.startswith("python -m pipeline.worker is started by ")
    assert console.stdout.startswith("usage: ")


@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_help_of_a_checkouts_commands_names_the_module(tmp_path: Path, module: str) -> None:
    done = run(tmp_path, [sys.executable, "-m", module, "--help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m {module} ")


@pytest.mark.parametrize(("argv", "prog"), [((), "kafka-model-scoring"), (("check",), "kafka-model-scoring check")])
def test_wrong_flags_name_the_command_whose_help_lists_them(folder: Path, argv: tuple[str, ...], prog: str) -> None:
    done = script(folder, *argv, "--metrics_port=x")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"{prog} --help lists the flags"


def test_wrong_flags_and_unknown_commands_end_with_2(folder: Path) -> None:
    assert script(folder, "--no_such_flag").returncode == 2
    done = script(folder, "chekc")
    assert done.returncode == 2
    assert done.stderr == (
        "error: chekc: no such command; there are check, dataflow_job, dead_letters, embedded, replay, and flags "
        "alone to score records\n"
    )


@pytest.mark.parametrize("argv", [("pipeline", "--help"), ("pipeline", "check", "--help"), ("pipeline.check", "--help")])
def test_without_the_programs_packages_one_line_says_what_to_install(tmp_path: Path, argv: tuple[str, ...]) -> None:
    done = run(tmp_path, [sys.executable, "-c", WITHOUT, *argv])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: the program needs packages that are not here (rich, yaml): pip install 'kafka-model-scoring[cli]'\n"
    )


@pytest.mark.parametrize("module", ["pipeline.embedded", "pipeline.dataflow_job", "pipeline.runners.dataflow.flex_template"])
def test_what_needs_none_of_them_runs_without(tmp_path: Path, module: str) -> None:
    done = run(tmp_path, [sys.executable, "-c", WITHOUT, module, "--help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_library_imports_none_of_them() -> None:
    code = (
        "import sys, transforms, transforms.handlers, transforms.kafka; "
        "print({'rich', 'prometheus_client'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "set()"
