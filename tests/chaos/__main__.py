"""The chaos suite's command line: plays scenarios one after the other, and tells what became of every record.

python -m tests.chaos --list
python -m tests.chaos --quick --only kill --only cut
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.chaos.report import Run, read_log, row, table, write
from tests.chaos.scenario import AT_LEAST_ONCE, EXACTLY_ONCE, Outcome, Scenario, play
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.stream import Said
from tests.kafka_broker import KafkaBroker


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays what is asked for; returns 1 if a guarantee did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults on purpose, and what they cost.")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="a scenario (repeatable)")
    parser.add_argument("--again", action="store_true", help="plays once more what fails: only what fails twice fails")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument(
        "--quick", action="store_true", help="few faults and records, the short form of continuous integration"
    )
    parser.add_argument("--seed", type=int, default=None, help="repeats the random choices of a run")
    parser.add_argument(
        "--delivery",
        action="append",
        choices=(EXACTLY_ONCE, AT_LEAST_ONCE),
        help="a guarantee (repeatable; both by default)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="puts each outcome into this document's table as soon as there is one"
    )
    parser.add_argument("--take", type=Path, metavar="LOG", help="puts what a run has printed into --report; plays nothing")
    args = parser.parse_args(arguments)
    if args.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:20} {scenario.what}")
        return 0
    if args.take is not None:
        if args.report is None:
            parser.error("--take needs --report")
        try:
            write(args.report, read_log(args.take.read_text()), names)
        except ValueError as error:
            parser.error(f"--take={args.take}: {error}")
        return 0
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    run = Run.now(seed, "short" if args.quick else "long")
    print(run, flush=True)
    chosen = rounds(args.only or (), args.delivery or (), args.quick)
    outcomes: list[Outcome] = []
    twice: list[str] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with KafkaBroker() as broker:
            for number, (scenario, delivery) in enumerate(chosen, 1):
                head = f"[{number}/{len(chosen)}] {scenario.name}, {delivery}"
                once = partial(_play, head, scenario, delivery, seed, broker.bootstrap, args.quick)
                *before, outcome = attempts(once, args.again)
                twice += [f"{head}: {_told(it)}" for it in before]
                outcomes.append(outcome)
                if args.report is not None:
                    write(args.report, [row(outcome, run)], names)
    except KeyboardInterrupt:
        print("stopped; until then:")
    print(f"\n{table([row(outcome, run) for outcome in outcomes])}")
    if twice:
        print("\n".join(["\nplayed again, as they had failed:", *twice]))
    return int(any(outcome.failed for outcome in outcomes))


def attempts(once: Callable[[], Outcome], again: bool) -> list[Outcome]:
    """Plays a scenario, and once more if it has failed and may be played again. The last outcome counts."""
    first = once()
    return [first, once()] if again and first.failed else [first]


def _play(head: str, scenario: Scenario, delivery: str, seed: int, bootstrap: str, quick: bool) -> Outcome:
    print(f"{head}: {scenario.what}", flush=True)
    outcome = play(scenario, delivery, seed, bootstrap, quick=quick, say=_say())
    print(f"{head}: {_told(outcome)}", flush=True)
    return outcome


def rounds(only: Sequence[str] = (), deliveries: Sequence[str] = (), quick: bool = False) -> list[tuple[Scenario, str]]:
    """What is played: a scenario and a guarantee each.

    Args:
        only: Names of scenarios; those of the form if left out.
        deliveries: Guarantees; if left out, all of each scenario, or the first one in the short form.
        quick: The short form.
    """
    named = [it for it in SCENARIOS if (it.name in only if only else it.quick or not quick)]
    if deliveries:
        return [(it, delivery) for it in named for delivery in it.deliveries if delivery in deliveries]
    return [(it, delivery) for it in named for delivery in (it.deliveries[:1] if quick else it.deliveries)]


def _say() -> Said:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"  {time.monotonic() - began:5.0f} s  {text}", flush=True)

    return say


def _told(outcome: Outcome) -> str:
    if outcome.verdict is None:
        return outcome.problem
    return f"{'held' if outcome.ok else 'BROKEN'}: {outcome.verdict} ({outcome.seconds:.0f} s)"


if __name__ == "__main__":
    sys.exit(main())
