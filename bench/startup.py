"""Start-up time: from the start of ``python -m pipeline`` to the first prediction in Kafka, less ``import apache_beam``."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from confluent_kafka import Consumer, TopicPartition

from bench import setting
from bench.report import Figure, median_of
from tests import topics

TARGET_S = 2.0
RECORDS = 100
TIMEOUT_S = 90


def measure(bootstrap: str, runs: int, pipeline_flags: tuple[str, ...], say: Callable[[str], None]) -> list[Figure]:
    """Times both in turn, ``runs`` times after one run that only warms the file cache.

    Raises:
        BenchmarkError: The pipeline failed, or wrote nothing.
    """
    source = setting.new_topic(bootstrap, "input")
    topics.produce(bootstrap, source, setting.values(RECORDS))
    firsts, imports = [], []
    with setting.model_server(0) as model:
        for run in range(runs + 1):
            started = time.monotonic()
            subprocess.run([sys.executable, "-c", "import apache_beam"], check=True)
            import_s = time.monotonic() - started
            first_s = first_prediction_s(bootstrap, model, source, pipeline_flags)
            note = "" if run else " (not counted)"
            say(f"  first prediction after {first_s:.2f} s, import apache_beam {import_s:.2f} s{note}")
            if run:
                firsts.append(first_s)
                imports.append(import_s)
    first, alone = median_of("first prediction", firsts, "s"), median_of("import apache_beam alone", imports, "s")
    return [first, alone, Figure("first prediction less the import", first.value - alone.value, "s", at_most=TARGET_S)]


def first_prediction_s(bootstrap: str, model: str, source: str, pipeline_flags: tuple[str, ...]) -> float:
    """Seconds from the start of the process until a ``read_committed`` consumer has the first prediction."""
    output = setting.new_topic(bootstrap, "output", partitions=1)
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": output,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 10,
        "log_level": 2,
    }
    consumer = Consumer({**config, "isolation.level": "read_committed", "enable.auto.commit": False})
    consumer.assign([TopicPartition(output, 0, 0)])
    job = setting.Job(bootstrap, model, source, output, True, pipeline_flags)
    started = time.monotonic()
    try:
        with setting.running(job.command(setting.EXACTLY_ONCE)) as process:
            while (message := consumer.poll(0.2)) is None or message.error():
                if time.monotonic() - started > TIMEOUT_S or process.poll() not in (None, 0):
                    raise setting.BenchmarkError("the pipeline wrote no prediction")
            took_s = time.monotonic() - started
            process.wait(TIMEOUT_S)
    finally:
        consumer.close()
    return took_s
