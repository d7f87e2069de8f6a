"""Heavy modules are loaded only where they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

ROOT = Path(__file__).parent.parent
BEAM, KAFKA = "apache_beam", "confluent_kafka"


def loaded(code: str, *packages: str) -> list[str]:
    """Which of the packages a fresh interpreter has loaded after running ``code``."""
    script = f"{code}\nimport sys\nprint([name for name in {packages!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


def test_the_package_itself_loads_nothing_until_a_name_is_asked_for() -> None:
    assert loaded("import transforms", BEAM, KAFKA, "numpy", "grpc", "aiohttp") == []
    assert loaded("from transforms import KafkaConfig, Failure", BEAM, KAFKA, "grpc", "aiohttp") == []


def test_every_public_name_is_found() -> None:
    code = "import transforms\nassert all(getattr(transforms, name).__name__ == name for name in transforms.__all__)"
    assert loaded(code, BEAM, "tensorflow") == [BEAM]
    assert loaded("import transforms.handlers", KAFKA, "tensorflow") == []


def test_flags_are_checked_without_loading_beam() -> None:
    """So that a wrong flag is answered at once. Reading a model's URI loads its protocol, here one without libraries."""
    flags = ["--bootstrap_servers=h:1", "--input_topic=a", "--output_topic=b", "--model=saved_model:///m"]
    code = f"from pipeline.cli.options import parse\nparse({flags})"
    assert loaded(code, BEAM, "tensorflow", "grpc", "aiohttp") == []


def test_a_job_without_metrics_loads_no_prometheus() -> None:
    served = "from pipeline.reporting.metrics import serve_metrics\nwith serve_metrics(0, open_rows(None, 1)): pass"
    code = "import pipeline.launch\nfrom pipeline.process.stats import open_rows\n"
    assert loaded(code, "prometheus_client") == []
    assert loaded(code + served, "prometheus_client") == ["prometheus_client"]


def test_with_a_grpc_model_tensorflow_is_never_loaded() -> None:
    """Everything that such a job imports, one request over the wire, decode and encode included."""
    with TfServingGrpcStub() as stub:
        code = f"""
import asyncio, pipeline.runners.direct, pipeline.launch
from transforms.clients import open_client
from transforms.decode.decoder import Decoder
from transforms.encode.encoder import Encoder
from transforms.types import KafkaRecord, AnsweredSegment, PredictedChunk
async def main():
    async with open_client({stub.uri()!r}) as client:
        metadata = await client.metadata(10)
        chunk = Decoder(metadata.signature).decode([KafkaRecord("t", 0, 0, 0, None, b"[1.0]", [])])
        [segment] = chunk.segments
        answer = await client.predict(segment.tensors, 1, 10)
        answered = AnsweredSegment(segment.rows, answer.outputs, answer.version, 1.0, 1)
        [output] = Encoder("o", "d", "m").encode(PredictedChunk(chunk.records, [answered], {{}}))
        assert output.value == b'{{"y":[2.5]}}', output.value
asyncio.run(main())
"""
        assert loaded(code, "tensorflow", "tensorflow_serving", "keras", BEAM) == [BEAM]


def test_a_client_loads_only_its_own_protocol() -> None:
    check = "from transforms.clients import check_uri\n"
    assert loaded(check + "check_uri('grpc://h:1/m')", "aiohttp", BEAM, KAFKA) == []
    assert loaded(check + "check_uri('http://h:1/v1/models/m')", "grpc", BEAM, KAFKA) == []
    assert loaded(check + "check_uri('saved_model:///m')", "grpc", "aiohttp", "ml_dtypes", BEAM, KAFKA) == []
    assert loaded(check + "check_uri('oip+grpc://h:1/m')", "aiohttp", BEAM, KAFKA, "tensorflow") == []
    assert loaded(check + "check_uri('oip+http://h:1/m')", "grpc", BEAM, KAFKA, "tensorflow") == []
    google = ("google.auth", "google.cloud.aiplatform_v1", "google.cloud.aiplatform")
    assert loaded(check + "check_uri('vertex://p/r/e')", "aiohttp", "grpc", *google, BEAM, KAFKA) == []
    assert loaded(check + "check_uri('sagemaker://e?region=eu-west-1')", "grpc", "botocore", BEAM, KAFKA, "tensorflow") == []


def test_vertex_loads_no_more_of_googles_packages_than_it_speaks() -> None:
    """The top package, google.cloud.aiplatform, takes BigQuery and Cloud Storage along, and seconds."""
    opened = "from transforms.clients import open_client\nopen_client('vertex://p/r/e{}')"
    heavy = ("google.cloud.aiplatform", "google.cloud.storage", "google.cloud.bigquery", "tensorflow", BEAM, KAFKA)
    assert loaded(opened.format(""), "google.cloud.aiplatform_v1", *heavy) == ["google.cloud.aiplatform_v1"]
    assert loaded(opened.format("?transport=rest"), "grpc", "google.cloud.aiplatform_v1", *heavy) == []
