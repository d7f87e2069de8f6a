"""``sasl.mechanism=AWS_MSK_IAM`` against Apache Kafka, whose listener checks tokens as Amazon MSK does: signature and all.

Nothing of it ran on AWS. What stands for MSK is ``java/MskIamTokens.java``: it computes the signature by itself.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.process import START_S, Job, job_factory, wait_until
from tests.kafka_broker import KafkaBroker, install
from transforms.testing.contract.certificates import write_certificates
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

JAVA = Path(__file__).with_name("java") / "MskIamTokens.java"
KEY, SECRET, REGION = "AKIAEXAMPLE", "right-77aa/with+signs", "eu-west-1"
IDENTITY = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
NOBODY = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_CONFIG_FILE": "/nonexistent",
}

pytestmark = pytest.mark.skipif(shutil.which("javac") is None, reason="javac is not here: it compiles the check of tokens")


@dataclasses.dataclass(frozen=True)
class Msk:
    """The broker, and the flags of a client."""

    broker: KafkaBroker
    flags: tuple[str, ...]

    def accepted(self) -> int:
        """How many logins there were."""
        return self.broker.log_file.read_text(errors="replace").count("token accepted")


@pytest.fixture(scope="module")
def msk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Msk]:
    folder = tmp_path_factory.mktemp("msk")
    classes = folder / "classes"
    javac = ["javac", "--release", "17", "-cp", f"{install()}/*", "-d", str(classes), str(JAVA)]
    subprocess.run(javac, check=True, capture_output=True)
    write_certificates(folder)
    store = folder / "server-store.pem"
    store.write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
    module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
    known = f'user="scoring" region="{REGION}" key="{KEY}" secret="{SECRET}" session_s="3"'
    of_broker = 'unsecuredLoginStringClaim_sub="broker"'  # options are Kafka's own handler's, too: for the broker itself
    of_listener = "listener.name.msk."
    properties = {
        f"{of_listener}ssl.keystore.type": "PEM",
        f"{of_listener}ssl.keystore.location": str(store),
        f"{of_listener}sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{of_listener}oauthbearer.sasl.jaas.config": f"{module} {known} {of_broker};",
        f"{of_listener}oauthbearer.sasl.server.callback.handler.class": "MskIamTokens",
        f"{of_listener}oauthbearer.connections.max.reauth.ms": "3000",
    }
    with KafkaBroker(properties=properties, more_listeners={"MSK": "SASL_SSL"}, classes=classes) as broker:
        given = ("sasl.mechanism=AWS_MSK_IAM", f"aws.region={REGION}", f"ssl.ca.location={folder / 'ca.pem'}")
        flags = (f"--bootstrap_servers={broker.more['MSK']}", *(f"--kafka_config={item}" for item in given))
        yield Msk(broker, flags)


@pytest.fixture
def job(msk: Msk, stub: TfServingGrpcStub) -> Iterator[Job]:
    with job_factory(msk.broker.bootstrap) as new_job:
        yield new_job(stub.uri(), partitions=2, flags=msk.flags)


def test_an_identity_of_aws_answers_the_records_and_logs_in_again_by_itself(msk: Msk, job: Job) -> None:
    """Readers, writers and admin clients of two processes; each connection's login is over after three seconds."""
    job.produce(range(20))
    process = job.start("--workers=2", environ=IDENTITY)
    wait_until(lambda: len(job.predictions()) == 20, "first predictions", START_S, process)
    logins = msk.accepted()
    wait_until(lambda: msk.accepted() >= logins + 12, "logins of idle clients", START_S, process)
    job.produce(range(20, 40))
    wait_until(lambda: len(job.predictions()) == 40, "later predictions", START_S, process)
    process.terminate()
    assert process.wait() == 0, process
    assert job.report().ok, process
    assert SECRET not in process.stdout + process.stderr


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({**IDENTITY, "AWS_SECRET_ACCESS_KEY": "planted-5d02"}, "its IAM policy must allow kafka-cluster:Connect"),
        (NOBODY, "AWS_MSK_IAM: no AWS credentials: set AWS_ACCESS_KEY_ID"),
    ],
    ids=["a wrong key", "no credentials"],
)
def test_who_is_not_known_is_told_at_once(job: Job, environ: dict[str, str], says: str) -> None:
    """Exit status 2, one error, no secret; nothing is consumed."""
    process = job.start(environ=environ)
    assert process.wait() == 2, process
    errors = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    assert [says in line for line in errors] == [True], process
    assert "planted-5d02" not in process.stdout + process.stderr, process
    assert job.committed() == {}
