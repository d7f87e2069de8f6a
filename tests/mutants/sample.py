"""``python -m tests.mutants.sample --number=20``: a random sample of cosmic-ray's mutants of the guarantees' packages."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from tests.mutants.copies import ROOT, copied_tree, run_tests
from tests.mutants.generated import Mutant, apply, list_mutants
from tests.mutants.meaningful import is_meaningful, is_other_code
from tests.mutants.summary import Outcome, Result, changed_lines, percent_noticed, place, survivors, table

FOLDERS = ("transforms/kafka/native", "transforms/predict")
SLACK, START_S = 3.0, 10.0
"""A mutant's tests may take this many times what they took without it, and so long to start: machines are busy at times."""
MOST_S = 900.0


def test_files(path: str, root: Path) -> list[str]:
    """Returns the test files of a module's folder, by the mirror of ``tests/``; its own comes first, to fail fast."""
    module = PurePosixPath(path)
    folder = PurePosixPath("tests", *module.parent.parts[1:])
    found = sorted(str(folder / file.name) for file in (root / folder).glob("test_*.py"))
    return sorted(found, key=lambda test: test != str(folder / f"test_{module.name}"))


def shuffled(mutants: Sequence[Mutant], root: Path, seed: int) -> list[Mutant]:
    """Returns the mutants that can matter, in a random order that the seed decides."""
    sources = {path: (root / path).read_text() for path in {mutant.path for mutant in mutants}}
    chosen = sorted(m for m in mutants if is_meaningful(sources[m.path], m.operator, m.line, m.column))
    random.Random(seed).shuffle(chosen)
    return chosen


def try_mutant(copy: Path, mutant: Mutant, change: Callable[[Mutant], object], timeout_s: float) -> Result | None:
    """Changes the copy, runs its tests and changes it back; None for a mutant that is no other code."""
    path = copy / mutant.path
    original = path.read_text()
    try:
        change(mutant)
        mutated = path.read_text()
        if not is_other_code(original, mutated):
            return None
        lines = changed_lines(original, mutated)
        try:
            status, _ = run_tests(copy, test_files(mutant.path, copy), timeout_s)
        except TimeoutError:
            return Result(mutant, Outcome.TIMED_OUT, lines)
        return Result(mutant, Outcome.KILLED if status else Outcome.SURVIVED, lines)
    finally:
        path.write_text(original)


def baseline(copy: Path, path: str) -> float:
    """Returns how long a mutant of a module may take: its tests must pass without a mutation, and are timed.

    Raises:
        RuntimeError: They fail.
        TimeoutError: They hang.
    """
    started = time.monotonic()
    status, output = run_tests(copy, test_files(path, copy), MOST_S)
    if status:
        raise RuntimeError(f"the tests of {path} fail without a mutation:\n{output}")
    return SLACK * (time.monotonic() - started) + START_S


def sample(cosmic_ray: Path, seed: int, number: int, results: list[Result]) -> None:
    """Runs so many of the mutants, in the seed's order, and puts what comes out into ``results``."""
    with copied_tree() as copy:
        mutants = list_mutants(cosmic_ray, copy, FOLDERS)
        chosen = shuffled(mutants, copy, seed)
        print(f"{len(mutants)} mutants, {len(chosen)} of them not in annotations, docstrings or the like", flush=True)
        limits: dict[str, float] = {}
        for mutant in chosen:
            if len(results) >= number:
                break
            folder = mutant.path.rpartition("/")[0]
            if folder not in limits:
                limits[folder] = baseline(copy, mutant.path)
            result = try_mutant(copy, mutant, lambda mutant: apply(cosmic_ray, copy, mutant), limits[folder])
            if result is not None:
                results.append(result)
                print(f"{len(results)}/{number} {result.outcome.value:<9}  {place(mutant)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sample, prints what it found and returns the exit status: 0, or 1 below ``--fail_under``."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.sample", description=__doc__)
    parser.add_argument("--number", type=int, default=20, help="how many mutants to run (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="the seed of an earlier run, to get its mutants again")
    parser.add_argument("--fail_under", type=float, default=0.0, metavar="PERCENT", help="fail if fewer are noticed")
    parser.add_argument("--cosmic_ray", type=Path, default=ROOT / ".venv-mutants/bin/cosmic-ray", help="the program")
    asked = parser.parse_args(arguments)
    seed = random.randrange(1_000_000) if asked.seed is None else asked.seed
    print(f"SEED={seed}", flush=True)
    results: list[Result] = []
    started = time.monotonic()
    try:
        sample(asked.cosmic_ray.absolute(), seed, asked.number, results)
    except KeyboardInterrupt:
        print("\ninterrupted", flush=True)
    noticed = percent_noticed(results)
    print(f"\n{table(results)}\n\n{survivors(results)}\n")
    minutes = (time.monotonic() - started) / 60
    print(f"{noticed:.0f} % of {len(results)} mutants noticed in {minutes:.1f} min (SEED={seed})")
    return 1 if noticed < asked.fail_under else 0


if __name__ == "__main__":
    sys.exit(main())
