"""What may be missing (Google Cloud, botocore, TensorFlow, Jinja2) is named where it is needed, with its cure."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.embedded.broker import EmbeddedBroker

BARRED = (
    "apitools",
    "botocore",
    "fastjsonschema",
    "google.api_core",
    "google.cloud",
    "jinja2",
    "ml_dtypes",
    "tensorflow",
    "pyarrow",
    "PIL",
    "grpc_tools",
    "setuptools",
)
FLAGS = ["--bootstrap_servers=127.0.0.1:1", "--input_topic=a", "--output_topic=b"]
DATAFLOW = [
    "--runner=DataflowRunner",
    "--project=p",
    "--region=r",
    "--temp_location=gs://bucket/t",
    "--sdk_container_image=h/p/i:1",
]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of ours as if the packages in ``BARRED`` were not installed."""
    program = f"""
import runpy, sys
for name in {BARRED}:
    sys.modules[name] = None
sys.argv = {["program", *arguments]}
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (
            "pipeline",
            [*FLAGS, "--model=grpc://127.0.0.1:1/m", *DATAFLOW],
            "(apitools): pip install 'kafka-model-scoring[gcp]'",
        ),
        ("pipeline", [*FLAGS, "--model=vertex://p/europe-west1/1"], "pip install 'kafka-model-scoring[vertex]'"),
        ("pipeline", [*FLAGS, "--model=sagemaker://e?region=eu-west-1"], "pip install 'kafka-model-scoring[sagemaker]'"),
        (
            "pipeline.dataflow_job",
            ["drain", "job", "--project=p", "--region=r"],
            "(apitools): pip install 'kafka-model-scoring[gcp]'",
        ),
        (
            "pipeline",
            [*FLAGS, "--model=openai+http://127.0.0.1:1/v1/m?task=chat", f"--prompt={__file__}"],
            "--prompt: needs a package that is not here (jinja2): pip install 'kafka-model-scoring[prompt]'",
        ),
        ("pipeline.embedded", ["--grpc_port=0"], "pip install 'kafka-model-scoring[embedded]'"),
    ],
)
def test_a_missing_package_is_named_with_its_cure(module: str, arguments: list[str], message: str) -> None:
    done = run(module, *arguments)
    assert done.returncode in (1, 2), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_generator_runs_without_them() -> None:
    """It is what the compose file's profile ``demo`` runs from the service image."""
    with EmbeddedBroker({"digits": 1}) as broker:
        done = run("pipeline.embedded", f"--bootstrap_servers={broker.address}", "--generate=digits")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("published ")
