"""tfx-bsl's in-process RunInference, in an environment of its own, answers tf.Example models as the model in the worker.

tfx-bsl 1.21 goes with the apache-beam, tensorflow, pyarrow, numpy and protobuf of this project, but wants absl-py below 2
and tensorflow-serving-api below 2.20; and it refuses a model whose signature declares another dtype than string for the
examples (``half_plus_three``), which TensorFlow Serving does not look at.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pipeline.embedded.servers import TESTDATA, needs_testdata
from tests.servers.environment import environment
from transforms.clients import open_client
from transforms.clients.wire.tensorflow.example import build_example

PINS = Path(__file__).with_name("tfx_bsl.txt").read_text(encoding="utf-8").split()
PROGRAM = Path(__file__).with_name("tfx_bsl_answers.py")
EXAMPLES = [build_example({"x": n / 4}) for n in range(64)]


MODELS = [
    ("half_plus_two_cpu", "regress_x_to_y"),
    ("half_plus_two_cpu", "classify_x_to_y"),
    ("half_plus_two_tf2_cpu", "regress_x_to_y2"),
]
"""Models and signatures."""


def folder_of(model: str) -> Path:
    return TESTDATA / f"saved_model_{model}" / "00000123"


@pytest.fixture(scope="module")
def by_tfx_bsl() -> dict[tuple[str, str], list[Any]]:
    """The answers to all, of one process: to import TensorFlow and tfx-bsl takes 20 s of a core."""
    python = environment("tfx-bsl", PINS) / "bin/python"
    asked = [argument for model, signature in MODELS for argument in (folder_of(model), signature)]
    done = subprocess.run(
        [python, PROGRAM, *asked],
        input=b"\n".join(map(base64.b64encode, EXAMPLES)),
        capture_output=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:].decode("utf-8", "replace")
    answers = [json.loads(line)["answers"] for line in done.stdout.splitlines()]
    return dict(zip(MODELS, answers, strict=True))


def by_us(folder: Path, signature: str) -> list[Any]:
    async def run() -> list[Any]:
        async with open_client(f"saved_model://{folder}?signature={signature}") as client:
            metadata = await client.metadata(60)
            [name] = metadata.signature.inputs
            inputs = {name: np.array(EXAMPLES, dtype=object)}
            [values] = [
                values
                for name, values in (await client.predict(inputs, len(EXAMPLES), 60)).outputs.items()
                if name != "classes"
            ]
            return values.tolist() if isinstance(values, np.ndarray) else list(values)

    return asyncio.run(run())


@needs_testdata
@pytest.mark.parametrize(("model", "signature"), MODELS)
def test_the_same_answers(by_tfx_bsl: dict[tuple[str, str], list[Any]], model: str, signature: str) -> None:
    """A TF1 model by Regress and by Classify, a TF2 model whose Predict parses the examples."""
    assert by_us(folder_of(model), signature) == by_tfx_bsl[model, signature]
