"""What a mutation run found, as a table and a list of survivors."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import enum
from collections.abc import Sequence

from tests.mutants.generated import Mutant


class Outcome(enum.Enum):
    """What the tests did with a mutant; one that makes them hang is noticed as well."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One mutant that was run.

    Attributes:
        mutant: The mutant.
        outcome: What the tests did with it.
        change: The lines of its diff that begin with ``-`` and ``+``.
    """

    mutant: Mutant
    outcome: Outcome
    change: tuple[str, ...]


def place(mutant: Mutant) -> str:
    """Returns where a mutant is, and its operator."""
    return f"{mutant.path}:{mutant.line}  {mutant.operator}"


def changed_lines(original: str, mutated: str) -> tuple[str, ...]:
    """Returns the removed and the added lines, without the headers of a diff."""
    lines = list(difflib.unified_diff(original.splitlines(), mutated.splitlines(), lineterm="", n=0))
    return tuple(line for line in lines[2:] if not line.startswith("@@"))


def percent_noticed(results: Sequence[Result]) -> float:
    """Returns how many of the mutants did not survive, in percent; 100 of none."""
    noticed = sum(result.outcome is not Outcome.SURVIVED for result in results)
    return 100.0 * noticed / len(results) if results else 100.0


def table(results: Sequence[Result]) -> str:
    """Returns a row for each module and one for all: mutants run, killed, survived, timed out."""
    counts: dict[str, collections.Counter[Outcome]] = collections.defaultdict(collections.Counter)
    for result in sorted(results, key=lambda result: result.mutant):
        counts[result.mutant.path][result.outcome] += 1
    counts["all"] = collections.Counter(result.outcome for result in results)
    width = max(map(len, counts))
    lines = [f"{'module':<{width}}  mutants" + "".join(f"  {outcome.value:>9}" for outcome in Outcome)]
    for name, count in counts.items():
        lines.append(f"{name:<{width}}  {count.total():>7}" + "".join(f"  {count[outcome]:>9}" for outcome in Outcome))
    return "\n".join(lines)


def survivors(results: Sequence[Result]) -> str:
    """Returns place, operator and change of each mutant that no test noticed, in the order of the code."""
    found = sorted((result for result in results if result.outcome is Outcome.SURVIVED), key=lambda result: result.mutant)
    return "\n".join("\n".join((place(one.mutant), *(f"    {line}" for line in one.change))) for one in found)
