"""A worker process: what its exit status tells the process that started it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.process.order import EXIT_FAILED, EXIT_FENCED

RUN = """
import sys
from pipeline import worker
from transforms import errors
from transforms.observe import reporting_failures

class Job:
    # Whatever is asked of it first fails as a session would.
    def __getattr__(self, name):
        with reporting_failures():
            raise getattr(errors, sys.argv[1])("somebody took over")

sys.exit(worker.run(Job(), "DirectRunner", (), worker.Stats()))
"""


@pytest.mark.parametrize(("error", "status"), [("FencedError", EXIT_FENCED), ("KafkaError", EXIT_FAILED)])
def test_a_fenced_worker_says_so_by_its_status(error: str, status: int) -> None:
    """It must not be started again, as one that failed is: it would fence whoever has its place now."""
    done = subprocess.run([sys.executable, "-c", RUN, error], capture_output=True, text=True, timeout=240)
    assert done.returncode == status, done.stderr
    assert "error: somebody took over" in done.stderr


def test_grpc_is_told_to_log_errors_alone_before_it_is_imported() -> None:
    """It reads the variable then; and the check of ``--model`` imports it, when nothing else has begun."""
    code = """
import importlib.abc, os, sys
class Seen(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_VERBOSITY"))
sys.meta_path.insert(0, Seen())
from pipeline.cli import options
from pipeline.cli.entry import flags_or_told
flags_or_told(options.parse, ["--model=grpc://h:1/m", "--input_topic=a", "--output_topic=b", "--bootstrap_servers=h:1"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=True, env=environment)
    assert done.stdout.split() == ["ERROR"]


def test_a_part_of_beam_that_is_not_used_warns_no_user() -> None:
    """Beam 2.77 without ``[gcp]`` logs a warning about apitools at its import. What a job server reports is still shown."""
    code = """
import logging
from pipeline import worker
worker.quiet_logging()
for part in ("io/gcp/internal/clients/bigquery/__init__", "runners/portability/portable_runner"):
    file = f"/site-packages/apache_beam/{part}.py"
    exec(compile(f"logging.warning('a warning of {part}')", file, "exec"))
    exec(compile(f"logging.error('an error of {part}')", file, "exec"))
logging.getLogger("pipeline").warning("a warning of ours")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines() == [
        "ERROR root: an error of io/gcp/internal/clients/bigquery/__init__",
        "WARNING root: a warning of runners/portability/portable_runner",
        "ERROR root: an error of runners/portability/portable_runner",
        "WARNING pipeline: a warning of ours",
    ]


def test_beam_logs_in_our_form_where_its_flags_are_looked_up_before_the_job() -> None:
    """Any flag of Beam's imports it: its warning came in Python's form, and so did whatever was logged after it."""
    code = """
import logging, sys
class Beam:
    def find_spec(self, name, path=None, target=None):
        if name == "apache_beam":
            file = "/site-packages/apache_beam/io/gcp/internal/clients/bigquery/__init__.py"
            exec(compile("import logging; logging.warning('apitools not found')", file, "exec"), {})
sys.meta_path.insert(0, Beam())
from pipeline import worker
from pipeline.cli.command_line import beam_flags
beam_flags()
worker.quiet_logging()
logging.getLogger("pipeline").warning("a warning of ours")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.splitlines() == ["WARNING pipeline: a warning of ours"]


@pytest.mark.parametrize(
    ("asked", "shown"), [(False, []), (True, ["DEBUG transforms.kafka.librdkafka: Sent EndTxnRequest"])]
)
def test_what_librdkafka_logs_is_shown_to_who_asks_for_it(asked: bool, shown: list[str]) -> None:
    """``--kafka_config=debug=protocol`` showed nothing of a job's own clients."""
    code = f"""
import logging
from pipeline import worker
worker.quiet_logging()
{asked} and worker.show_librdkafka()
logging.getLogger("transforms.kafka.librdkafka").debug("Sent EndTxnRequest")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines() == shown
