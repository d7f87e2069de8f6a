"""The mutants that cosmic-ray generates. It runs in an environment of its own, so only its command line is used."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

CONFIG = """[cosmic-ray]
module-path = {folders}
timeout = 1.0
excluded-modules = []
test-command = "not used"
distributor.name = "local"
"""


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Mutant:
    """One change that cosmic-ray can make.

    Attributes:
        path: The file, from the root of the tree.
        line: Where the change begins, from 1.
        column: The same, from 0, in characters.
        operator: What kind of change, by cosmic-ray's name without ``core/``.
        occurrence: Which of the operator's places in the file, from 0.
    """

    path: str
    line: int
    column: int
    operator: str
    occurrence: int


def list_mutants(cosmic_ray: Path, copy: Path, folders: tuple[str, ...]) -> list[Mutant]:
    """Returns all mutants of the modules in some folders, in the order of the code."""
    config, session = copy / "cosmic-ray.toml", copy / "cosmic-ray.sqlite"
    config.write_text(CONFIG.format(folders=json.dumps(folders)))
    _run(cosmic_ray, copy, "init", str(config), str(session))
    return sorted(parse(_run(cosmic_ray, copy, "dump", str(session))))


def parse(dump: str) -> Iterator[Mutant]:
    """Reads what ``cosmic-ray dump`` prints: a line of JSON for each mutant."""
    for line in dump.splitlines():
        item, _ = json.loads(line)
        (change,) = item["mutations"]
        operator = change["operator_name"].removeprefix("core/")
        line_number, column = change["start_pos"]
        yield Mutant(change["module_path"], line_number, column, operator, change["occurrence"])


def apply(cosmic_ray: Path, copy: Path, mutant: Mutant) -> None:
    """Writes the mutant over its file in the copy."""
    _run(cosmic_ray, copy, "apply", mutant.path, f"core/{mutant.operator}", str(mutant.occurrence))


def _run(cosmic_ray: Path, copy: Path, *arguments: str) -> str:
    done = subprocess.run([cosmic_ray, *arguments], cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"cosmic-ray {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
