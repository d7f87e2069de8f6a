"""What a transaction costs: the requests of one bundle to the broker, as librdkafka logs them, at 500 records/s.

The job is the pipeline in a process that writes librdkafka's protocol log (``python -m bench.transaction FILE FLAG…``).
A figure is the median time of one request from its sending to its answer; beside it stands how many there are for each
transaction. Requests that are sent together overlap, so the times do not add up to the time of a commit.
"""

from __future__ import annotations

import collections
import logging
import re
import runpy
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import setting
from bench.latency import RATE, START_TIMEOUT_S, WARM_UP_S
from bench.load import Receiver, Sender, wait_for_all, wait_for_first
from bench.report import Figure

END = "EndTxn"
OF_A_TRANSACTION = ("AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", END)
"""In the order in which librdkafka sends them. Kafka's markers follow the last one, inside the broker."""

_ANSWER = re.compile(r"\bReceived (\w+)Response \(v(\d+), \d+ bytes, CorrId \d+, rtt ([\d.]+)ms\)")


def measure(bootstrap: str, seconds: float, flags: tuple[str, ...], say: Callable[[str], None]) -> list[Figure]:
    """Returns for each kind of request its median time, and how many there are for each transaction.

    Raises:
        BenchmarkError: The job failed, or made no transaction.
    """
    source, output = setting.new_topic(bootstrap, "input"), setting.new_topic(bootstrap, "output")
    with tempfile.TemporaryDirectory() as folder, setting.model_server(0) as model:
        protocol_log = Path(folder) / "protocol.log"
        job = setting.Job(bootstrap, model, source, output, False, ("--kafka_config=debug=protocol", *flags))
        command = job.command(setting.EXACTLY_ONCE)
        command[command.index("-m") + 1 : command.index("-m") + 2] = ["bench.transaction", str(protocol_log)]
        sender = Sender(bootstrap, source, setting.values(1000))
        with Receiver(bootstrap, output) as receiver, setting.running(command) as process:
            wait_for_first(sender, receiver, process, START_TIMEOUT_S)
            wait_for_all(sender, receiver, 10)
            sender.run(RATE, WARM_UP_S)
            wait_for_all(sender, receiver, 10)
            before = protocol_log.stat().st_size
            sender.run(RATE, seconds)
            wait_for_all(sender, receiver, 10)
        with protocol_log.open() as lines:
            lines.seek(before)
            return figures_of(lines, say)


def figures_of(lines: Iterable[str], say: Callable[[str], None]) -> list[Figure]:
    """Returns the figures of a protocol log.

    Args:
        lines: librdkafka's lines; those of other requests and of what was sent are left out.
        say: Is told the versions of the requests.

    Raises:
        BenchmarkError: There is no transaction in it.
    """
    took_ms: dict[str, list[float]] = collections.defaultdict(list)
    versions: dict[str, str] = {}
    for line in lines:
        if (found := _ANSWER.search(line)) is not None and found[1] in OF_A_TRANSACTION:
            took_ms[found[1]].append(float(found[3]))
            versions[found[1]] = found[2]
    if not took_ms[END]:
        raise setting.BenchmarkError("there is no transaction in librdkafka's log")
    transactions = len(took_ms[END])
    asked = [name for name in OF_A_TRANSACTION if took_ms[name]]
    say(f"  {transactions:,} transactions; " + ", ".join(f"{name} v{versions[name]}" for name in asked))
    return [
        Figure(name, statistics.median(took_ms[name]), "ms", remark=f"{len(took_ms[name]) / transactions:.2f} a transaction")
        for name in asked
    ]


def _log_protocol(path: str) -> None:
    handler = logging.FileHandler(path)
    librdkafka = logging.getLogger("transforms.kafka.librdkafka")
    librdkafka.addHandler(handler)
    librdkafka.setLevel(logging.DEBUG)
    librdkafka.propagate = False


if __name__ == "__main__":
    _log_protocol(sys.argv.pop(1))
    runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
