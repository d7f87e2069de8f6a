"""``python -m tests.mutants [WORD …]``: applies each known mutation to a copy of the code; its test must fail."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NoReturn

from tests.mutants.copies import copied_tree, end_all, run_tests
from tests.mutants.known import KNOWN, Mutation

FAILED_TESTS = 1
TIMEOUT_S = 300
ATTEMPTS = 2
"""How often a test is run that does not fail: a crash of a C extension says nothing of the mutation, and a test that passes
is given another seed, as what fails in continuous integration is run again."""
SHOWN_LINES = 40
SIDE_BY_SIDE = 4
"""How many run at a time: a test that fails by waiting in vain (``START_S``) needs no processor meanwhile."""


def is_killed(
    mutation: Mutation, copy: Path, run_tests: Callable[[Path, Sequence[str], float, int], tuple[int, str]] = run_tests
) -> bool:
    """Whether the mutation's test fails with it, with one of two seeds; a test that hangs has failed too.

    Args:
        mutation: What to change.
        copy: A copy of the tree.
        run_tests: Runs tests in it.

    Raises:
        RuntimeError: The test can't be run.
    """
    path = copy / mutation.path
    original = path.read_text()
    assert original.count(mutation.old) == 1, f"{mutation.name}: the text occurs {original.count(mutation.old)} times"
    path.write_text(original.replace(mutation.old, mutation.new))
    try:
        passed = False
        for attempt in range(ATTEMPTS):
            status, output = run_tests(copy, mutation.test.split(), TIMEOUT_S, attempt)
            if status == FAILED_TESTS:
                return True
            passed = passed or status == 0
            why = "passed" if status == 0 else f"ended with {status}, not a test's result:\n{shortened(output)}"
            print(f"{mutation.name}: attempt {attempt + 1} {why}", flush=True)
    except TimeoutError:
        return True
    finally:
        path.write_text(original)
    if passed:
        return False
    raise RuntimeError(f"{mutation.name}: its test can't be run: {mutation.test}")


def shortened(output: str) -> str:
    """The beginning and the end of what pytest printed: a crash's stacks may be hundreds of lines between them."""
    lines = output.splitlines()
    return output if len(lines) <= 2 * SHOWN_LINES else "\n".join([*lines[:SHOWN_LINES], "…", *lines[-SHOWN_LINES:]])


def run(mutation: Mutation) -> bool:
    """Whether the mutation is killed, in a copy of the tree of its own."""
    with copied_tree() as copy:
        return is_killed(mutation, copy)


def parse(arguments: Sequence[str] | None) -> tuple[Mutation, ...]:
    """Returns the mutations that are asked for. Ends the process with 2 and the list of names if a word fits none."""
    names = "\n".join(["the mutations:", *(f"  {mutation.name}" for mutation in KNOWN)])
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        epilog=names,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only mutations with this in their name")
    words = parser.parse_args(arguments).words
    unknown = [word for word in words if not any(word in mutation.name for mutation in KNOWN)]
    if unknown:
        parser.exit(2, f"error: no mutation's name has {' or '.join(map(repr, unknown))}; {names}\n")
    return tuple(mutation for mutation in KNOWN if not words or any(word in mutation.name for word in words))


def ended(number: int, _: object) -> NoReturn:
    """Handles a signal: ends the process as Ctrl-C does."""
    sys.exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks the mutations whose names have one of the words; all of them without words. Returns the exit status."""
    chosen = parse(arguments)
    signal.signal(signal.SIGTERM, ended)  # of ``timeout``, for example
    survivors: list[Mutation] = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        running = {threads.submit(run, mutation): mutation for mutation in chosen}
        try:
            for number, done in enumerate(as_completed(running), 1):
                mutation, killed = running[done], done.result()
                if not killed:
                    survivors.append(mutation)
                print(
                    f"{number}/{len(chosen)} {'killed' if killed else 'SURVIVED'}  {mutation.name}  ({mutation.test})",
                    flush=True,
                )
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            end_all()  # the threads remove their copies
            raise
    for mutation in survivors:  # at the end, which is what is seen of a long log
        print(f"SURVIVED  {mutation.name}  ({mutation.test})")
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutations killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
