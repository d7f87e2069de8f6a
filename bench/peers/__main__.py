"""Measures all sides in turn and writes the page: ``python -m bench.peers [--write FILE]``."""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from bench import setting
from bench.peers import installed
from bench.peers.measure import Backlog, Benchmark, Records, Steady
from bench.peers.programs import PROGRAMS, Program
from bench.peers.report import page
from tests.kafka_broker import BrokerError, KafkaBroker

KEYS = 10_000


def main() -> int:
    """Runs the chosen sides; returns the exit status."""
    args = _arguments()
    programs = [program for program in PROGRAMS if not args.only or any(part in program.name for part in args.only)]
    if not programs:
        _say(f"no side's name has any of {args.only}: {', '.join(program.name for program in PROGRAMS)}")
        return 2
    machine = {**setting.machine(), **_versions()}
    backlogs: dict[float, dict[str, list[Backlog]]] = {}
    steady: dict[str, list[Steady]] = {}
    try:
        _say("the peers' programs, from the registries:")
        for program in ("kafka_streams", "parallel_consumer"):
            installed.java(program)
        installed.bento()
        with KafkaBroker() as broker:
            benchmark = Benchmark(broker.bootstrap, _say)
            records = records_of(args.records, args.width)
            for latency_ms in args.server_ms:
                _say(f"a request takes {latency_ms:g} ms:")
                backlogs[latency_ms] = benchmark.backlog(programs, records, latency_ms, args.runs, args.most_s)
                _write(args, machine, programs, backlogs, steady)  # a run that is ended later has these
            if args.seconds:
                _say("steady load:")
                prompt = [program for program in programs if program.latency]
                steady = benchmark.steady(prompt, args.seconds, args.runs)
    except (setting.BenchmarkError, BrokerError) as error:
        _say(f"FAILED: {error}")
        return 1
    _say(_write(args, machine, programs, backlogs, steady))
    return 0


def _write(
    args: argparse.Namespace,
    machine: Mapping[str, Any],
    programs: Sequence[Program],
    backlogs: Mapping[float, Mapping[str, Sequence[Backlog]]],
    steady: Mapping[str, Sequence[Steady]],
) -> str:
    command = " ".join(["python -m bench.peers", *sys.argv[1:]])
    settings = {"records": args.records, "width": args.width, "runs": args.runs, "most_s": args.most_s}
    text = page(command, settings, machine, programs, backlogs, steady)
    if args.write:
        args.write.write_text(text, encoding="utf-8")
    return text


def records_of(count: int, width: int) -> Records:
    """JSON records of ``width`` floats with keys by Zipf's law; always the same."""
    chance = random.Random(7)
    keys = chance.choices([b"%05d" % key for key in range(KEYS)], [1 / (rank + 1) for rank in range(KEYS)], k=count)
    return [(key, orjson.dumps({"x": [round(chance.random(), 6) for _ in range(width)]})) for key in keys]


def _versions() -> dict[str, Any]:
    found = {}
    for program, artifact in (("kafka_streams", "kafka-streams"), ("parallel_consumer", "parallel-consumer-core")):
        pom = (installed.HERE / "java" / program / "pom.xml").read_text()
        match = re.search(rf"<artifactId>{artifact}</artifactId>\s*<version>([^<]+)", pom)
        found[artifact] = match[1] if match else None
    bento = re.search(r"bento (v[\d.]+)", (installed.HERE / "bento" / "go.mod").read_text())
    found["bento"] = bento[1] if bento else None
    for name, command in (("java", ["java", "-version"]), ("go", ["go", "version"])):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found[name] = (done.stdout + done.stderr).split("\n", 1)[0]
    return found


def _arguments() -> argparse.Namespace:
    description = "This pipeline and other ways to score a topic, measured in turn."
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=description)
    parser.add_argument("--only", action="append", default=[], help="sides whose name has this (repeatable)")
    parser.add_argument("--records", type=int, default=200_000, help="records in the topic")
    parser.add_argument("--width", type=int, default=setting.FLOATS, help="floats in a record")
    parser.add_argument("--runs", type=int, default=5, help="runs of each side that count")
    parser.add_argument("--server_ms", type=float, action="append", help="what a request takes (repeatable); 0, 20 and 200")
    parser.add_argument("--most_s", type=float, default=15.0, help="how long a side may take over the backlog")
    parser.add_argument("--seconds", type=float, default=15.0, help="of the steady load, after a warm-up; 0: none")
    parser.add_argument("--write", type=Path, help="where the page goes")
    args = parser.parse_args()
    args.server_ms = args.server_ms or [0.0, 20.0, 200.0]
    return args


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
