"""All benchmarks in one command: ``python -m bench`` (``make bench``), or ``--quick`` for a short run.

Prints a table of figures with their targets and the machine's description, and writes them as JSON. Exit status 0: all was
measured, even if targets were missed. Exit status 1: a benchmark failed or, with ``--strict``, a target was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from bench import (
    embeddings,
    flink,
    latency,
    limiter,
    poison,
    prism,
    scaling,
    servers,
    setting,
    startup,
    throughput,
    transaction,
)
from bench.report import Figure, table, write_json
from tests.flink_cluster import FlinkError
from tests.kafka_broker import ROOT, BrokerError, KafkaBroker

WITHOUT_BROKER = ("limiter",)
DEFAULT_PARTS = (*WITHOUT_BROKER, "throughput", "latency", "startup", "servers")
PARTS = (*DEFAULT_PARTS, "embeddings", "poison", "transaction", "prism", "flink", "scaling")
"""All parts. Those that are not in ``DEFAULT_PARTS`` answer one question, need a download, or depend on the cores."""

ALL_SIDES = [setting.HANDWRITTEN, setting.HANDWRITTEN_HEADERS, setting.EXACTLY_ONCE, setting.AT_LEAST_ONCE]
SHARE_TARGETS = {0.0: 1.0, 20.0: 0.9}
"""Server latency in ms to the target: the pipeline's throughput (exactly once) as a share of the hand-written consumer's."""

BUSY = 0.5
"""Load average above which the machine is too busy for reliable figures."""

ROWS, SLOTS = setting.ROWS_A_REQUEST, setting.REQUESTS_AT_A_TIME
LIKE_WITH_LIKE = (f"--batch_max_size={ROWS}", f"--max_in_flight={SLOTS}")
"""The pipeline's flags that match the hand-written consumer's fixed settings."""


def main() -> int:
    """Runs the chosen parts; returns the exit status."""
    args = _arguments()
    figures: list[Figure] = []
    machine = setting.machine()
    if machine["load_average_at_start"] > BUSY:
        _say(f"Load average {machine['load_average_at_start']:.1f}: others use this machine now; the figures will show it.")
    parts = args.only or DEFAULT_PARTS
    try:
        with contextlib.nullcontext() if set(parts) <= set(WITHOUT_BROKER) else KafkaBroker() as broker:
            for part in parts:
                _say(f"{part}:")
                figures += _measure(part, broker.bootstrap if broker is not None else "", args)
    except (setting.BenchmarkError, BrokerError, FlinkError) as error:
        _say(f"FAILED: {error}")
        return 1
    finally:
        if figures:
            _say(f"\n{table(figures)}\n")
            _say("\n".join(f"{name}: {value}" for name, value in machine.items() if value is not None))
            write_json(args.json, machine, {key: str(value) for key, value in vars(args).items()}, figures)
            _say(f"JSON: {args.json}")
    return int(args.strict and any(figure.passed is False for figure in figures))


def _measure(part: str, bootstrap: str, args: argparse.Namespace) -> list[Figure]:
    flags = tuple(args.pipeline_flag)
    if part == "limiter":
        return limiter.measure(_say)
    if part == "latency":
        sides = [side for side in ALL_SIDES if side in args.sides and side != setting.HANDWRITTEN]
        return latency.measure(bootstrap, sides, args.seconds, args.latency_runs, flags, _say)
    if part == "embeddings":
        return embeddings.measure(bootstrap, args.runs, flags, _say)
    if part == "poison":
        return poison.measure(bootstrap, args.records // 4, args.runs, args.kind, args.server_ms or [0], flags, _say)
    if part == "transaction":
        return transaction.measure(bootstrap, args.seconds, flags, _say)
    if part == "scaling":
        return scaling.measure(bootstrap, args.runs, flags, _say)
    if part == "startup":
        return startup.measure(bootstrap, args.runs, flags, _say)
    if part == "prism":
        return prism.measure(bootstrap, args.records // 4, args.seconds, args.runs, flags, _say)
    if part == "servers":
        return servers.measure(bootstrap, args.server_runs, flags, _say)
    if part == "flink":
        return flink.measure(bootstrap, args.records, args.runs, args.seconds, flags, _say)
    figures = []
    throughput.warm_up(bootstrap, args.records, (*LIKE_WITH_LIKE, *flags))
    for server_ms in args.server_ms or SHARE_TARGETS:
        target = SHARE_TARGETS.get(server_ms)
        measured = throughput.measure(
            bootstrap, server_ms, args.sides, args.records, args.runs, (*LIKE_WITH_LIKE, *flags), _say
        )
        figures += list(measured.values())
        if server_ms and not any(flag.startswith(("--max_in_flight", "--batch_max_size")) for flag in flags):
            figures += [throughput.slots_busy(rates, server_ms, SLOTS, ROWS) for rates in measured.values()]
        for name, ours, peer, at_least in (
            ("exactly once / hand-written, same headers", setting.EXACTLY_ONCE, setting.HANDWRITTEN_HEADERS, target),
            ("exactly once / hand-written without headers", setting.EXACTLY_ONCE, setting.HANDWRITTEN, None),
            ("exactly once / at least once", setting.EXACTLY_ONCE, setting.AT_LEAST_ONCE, None),
        ):
            if ours in measured and peer in measured:
                figures.append(throughput.ratio(f"{name}, {server_ms:g} ms", measured[ours], measured[peer], at_least))
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="The pipeline against a hand-written consumer.")
    parser.add_argument("--quick", action="store_true", help="a short run, with less certain figures")
    parser.add_argument("--only", action="append", choices=PARTS, help=f"one part (repeatable); by default {DEFAULT_PARTS}")
    parser.add_argument("--sides", nargs="+", choices=ALL_SIDES, default=ALL_SIDES, metavar="SIDE", help=f"of {ALL_SIDES}")
    parser.add_argument("--records", type=int, help="throughput: records in the topic (400,000; quick: 150,000)")
    parser.add_argument("--runs", type=int, help="runs of each side, in turn (3; quick: 1)")
    parser.add_argument(
        "--server_ms",
        type=float,
        action="append",
        help="throughput (0 and 20), poison (0): the server's latency (repeatable)",
    )
    parser.add_argument("--seconds", type=float, help="latency: seconds of load after the warm-up (20; quick: 8)")
    parser.add_argument("--latency_runs", type=int, default=1, help="latency: runs of each side")
    parser.add_argument("--server_runs", type=int, default=1, help="servers: runs of each side against each real server")
    parser.add_argument(
        "--kind", action="append", default=[], help="poison: one kind (repeatable), such as INTERNAL; or all"
    )
    parser.add_argument("--pipeline_flag", action="append", default=[], help="a further flag for the pipeline (repeatable)")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if a target is missed")
    parser.add_argument("--json", type=Path, default=ROOT / ".cache" / "bench.json", help="where the figures go")
    args = parser.parse_args()
    args.records = args.records or (150_000 if args.quick else 400_000)
    args.runs = args.runs or (1 if args.quick else 3)
    args.seconds = args.seconds or (8.0 if args.quick else 20.0)
    return args


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
