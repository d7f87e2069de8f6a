"""Jobs against the real Kafka, stub model servers with faults, and one embedded model server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.embedded.digits import MODEL_DIR
from pipeline.runners.prism import find_prism
from tests.integration.preloaded import forks
from tests.integration.process import Job, job_factory
from tests.integration.secured import Secured, secured_broker
from tests.pipeline.embedded.servers import KINDS_DIR, TESTDATA, Served, model_server
from transforms.kafka.beam.expansion.service import classpath
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

NewJob = Callable[..., Job]


@pytest.fixture(scope="session", autouse=True)
def _forks() -> Iterator[None]:
    """Jobs are forks of a process that has imported Beam; see ``preloaded.py``."""
    with forks(True):
        yield


@pytest.fixture
def real_starts() -> Iterator[None]:
    """Jobs are started anew, for what is to be seen of their start."""
    with forks(False):
        yield


@pytest.fixture
def new_job(kafka: str) -> Iterator[NewJob]:
    """Makes jobs with topics and a group of their own; see ``process.job_factory``."""
    with job_factory(kafka) as factory:
        yield factory


@pytest.fixture
def stub() -> Iterator[TfServingGrpcStub]:
    """A model server that answers y = 0.5 * x + 2, and fails on demand."""
    with TfServingGrpcStub() as server:
        yield server


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A Kafka with an authorizer and a listener for each way to get in; see ``secured.py``."""
    with secured_broker(tmp_path_factory.mktemp("certificates")) as broker:
        yield broker


@pytest.fixture(scope="session")
def prism() -> Path:
    """Prism's binary, which may have to be built first."""
    return find_prism(print)


@pytest.fixture(scope="session")
def java_jars() -> list[Path]:
    """The jars of Beam's Java transforms, which may have to be downloaded first."""
    return classpath(print)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The embedded model server: digits, kinds and, where they are, TensorFlow Serving's test models."""
    models = {"digits": MODEL_DIR, "kinds": KINDS_DIR}
    if TESTDATA.is_dir():
        models["half_plus_two"] = TESTDATA / "saved_model_half_plus_two_cpu"
    with model_server(models) as server:
        yield server
