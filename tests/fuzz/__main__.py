"""``make fuzz``: every target under atheris for its share of the time, a line of progress, and a table at the end.

An input that breaks a promise is kept in ``tests/fuzz/findings``, where the unit tests run it for ever, and ends its target.
New inputs go to ``.cache/fuzz``; ``--keep`` merges what reaches new code into ``tests/fuzz/corpus``.

By time it looks for what is new, by chance. CI takes ``--runs``: so many inputs a target, the same ones each time, from the
corpus in git alone. So what fails there fails here, and a change is not refused for what it did not touch.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.table import CORPUS, FINDINGS, TARGETS, kept_inputs

ROOT = Path(__file__).parents[2]
NEW = ROOT / ".cache" / "fuzz"
_START_S = 300  # to import and to run the corpus once, on a machine that does other things
_LIMITS = ("-timeout=60", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1")
_SAME_EACH_TIME = ("-seed=1", "-reload=0")
_INPUT = re.compile(r"^Base64: (\S+)$", re.MULTILINE)
_PROGRESS = re.compile(r"^#(\d+)\s.*?cov: (\d+)", re.MULTILINE)
_STATISTIC = re.compile(r"^stat::(\w+):\s+(\d+)", re.MULTILINE)


@dataclasses.dataclass
class Run:
    """One target's run."""

    target: str
    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        """What libFuzzer has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def progress(self) -> tuple[int, int]:
        """Executions and coverage so far."""
        seen = _PROGRESS.findall(self.text())
        return (int(seen[-1][0]), int(seen[-1][1])) if seen else (0, 0)


def main() -> int:
    """Runs the targets; returns 1 if any promise is broken."""
    parser = argparse.ArgumentParser(description="fuzzes every decoder and every parser of answers")
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together")
    parser.add_argument("--runs", type=int, help="in place of a time: so many inputs a target, the same ones each time")
    parser.add_argument("--keep", action="store_true", help="merge new inputs into the corpus afterwards")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all by default")
    flags = parser.parse_args()
    names = flags.targets or list(TARGETS)
    side_by_side = min(len(names), os.cpu_count() or 1)
    seconds = max(1, round(flags.minutes * 60 * side_by_side / len(names)))
    share = f"{seconds} s" if flags.runs is None else f"{flags.runs:,} inputs"
    print(f"{len(names)} targets, {share} each, {side_by_side} side by side", flush=True)
    waiting = names[:]
    running: list[Run] = []
    done: list[tuple[str, int, int, int, str]] = []
    while waiting or running:
        while waiting and len(running) < side_by_side:
            running.append(_start(waiting.pop(0), seconds, flags.runs))
        time.sleep(1)
        for run in [run for run in running if run.process.poll() is not None]:
            running.remove(run)
            done.append(_row(run))
            print(f"[{len(done)}/{len(names)}] {' '.join(str(cell) for cell in done[-1])}", flush=True)
        if sys.stdout.isatty() and running:
            shown = ", ".join(f"{run.target} {run.progress()[0]:,}" for run in running)
            print(f"\r\x1b[K[{len(done)}/{len(names)}] {shown}", end="\r", flush=True)
    if flags.keep:
        for name in names:
            _merge(name)
    return _tell(done)


def _start(target: str, seconds: int, runs: int | None) -> Run:
    new, found = NEW / target, FINDINGS / target
    if runs is not None:  # what former runs here found would lead to others
        new = NEW / "same-each-time" / target
        shutil.rmtree(new, ignore_errors=True)
    for folder in (new, CORPUS / target):
        folder.mkdir(parents=True, exist_ok=True)
    log = NEW / f"{target}.log"
    command = [sys.executable, "-m", "tests.fuzz.worker", target, str(new), str(CORPUS / target), *_LIMITS]
    command += [f"-max_total_time={seconds}"] if runs is None else [f"-runs={runs}", *_SAME_EACH_TIME]
    command += [f"-artifact_prefix={found}/"]
    found.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "0"}, stdout=output, stderr=subprocess.STDOUT
        )
    return Run(target, process, log)


def _row(run: Run) -> tuple[str, int, int, int, str]:
    statistics = dict(_STATISTIC.findall(run.text()))
    executions, coverage = run.progress()
    executions = int(statistics.get("number_of_executed_units", executions))
    new = int(statistics.get("new_units_added", 0))
    if run.process.returncode:
        print(run.text()[-4000:], file=sys.stderr)
    folder = FINDINGS / run.target
    if not any(folder.iterdir()):
        folder.rmdir()
    return run.target, executions, coverage, new, _problem(run)


def _problem(run: Run) -> str:
    """What a target ended by, with the input: the machine that found it may be gone when its output is read."""
    if not run.process.returncode:
        return "none"
    said = [line for line in run.text().splitlines() if re.match(r"\s*[\w.]*(Error|Exception)\b", line)]
    inputs = _INPUT.findall(run.text())
    return "; ".join((f"status {run.process.returncode}", *said[-1:], *(f"input {data} (base64)" for data in inputs[-1:])))


def _merge(target: str) -> None:
    """Keeps of old and new inputs the fewest that reach all that they reach."""
    merged = NEW / f"{target}.merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    folders = [str(merged), str(NEW / target), str(CORPUS / target)]
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.worker",
        target,
        "-merge=1",
        "-set_cover_merge=1",
        *folders,
        "-max_len=1024",
    ]
    if subprocess.run(command, cwd=ROOT, capture_output=True, timeout=_START_S, check=False).returncode == 0:
        shutil.rmtree(CORPUS / target)
        shutil.move(merged, CORPUS / target)


def _tell(rows: list[tuple[str, int, int, int, str]]) -> int:
    print(f"\n{'target':20}{'executions':>12}{'coverage':>10}{'corpus':>8}{'new':>6}  findings")
    for target, executions, coverage, new, problem in rows:
        kept = len(kept_inputs(CORPUS, target))
        print(f"{target:20}{executions:>12,}{coverage:>10,}{kept:>8,}{new:>6,}  {problem}")
    broken = [row for row in rows if row[-1] != "none"]
    idle = [row[0] for row in rows if not row[1]]
    total = sum(row[1] for row in rows)
    print(f"{total:,} executions of {len(rows)} targets, {len(broken)} with findings")
    if idle:
        print(f"never ran: {', '.join(idle)}")
    return 1 if broken or idle else 0


if __name__ == "__main__":
    sys.exit(main())
