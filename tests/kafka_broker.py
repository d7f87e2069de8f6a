"""The real Apache Kafka, one node, on 127.0.0.1: for the tests, the benchmarks and people.

    python -m tests.kafka_broker [--port P]

The jars come from Maven Central by ``mvn dependency:copy-dependencies`` (``kafka_pom.xml``; 43 MB, once, into ``.cache/``).
The node is broker and controller at once (KRaft: no ZooKeeper). Its data are in a temporary directory, which goes with it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

VERSION = "4.1.0"
ROOT = Path(__file__).resolve().parent.parent
POM = Path(__file__).with_name("kafka_pom.xml")
JARS = ROOT / ".cache" / f"kafka-{VERSION}"

# Below Linux's range of ports for outgoing connections (32768 up): while a broker is down between kill() and restart(), the
# reconnecting clients of the same machine would else be given its port.
PORTS = range(20000, 32000)
LOG_TAIL_LINES = 30

PROPERTIES = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "auto.create.topics.enable": "false",
    # One node: nothing can be replicated.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Few partitions of the internal topics: the first group and the first transaction need not wait for 50 files.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # The times of records are what a test gives them: by default those of more than a week ago would be deleted, all at
    # once, when retention comes by every five minutes. Tests delete records by the admin client.
    "log.retention.ms": "-1",
    # What a test would otherwise wait for: joining members, short sessions, transactions of dead producers, compaction.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # With KIP-848's protocol the broker says these, and no client: a dead member's partitions move on soon.
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
    # A busy machine may keep the broker from its heartbeats for seconds; without them it would be put aside.
    "broker.session.timeout.ms": "60000",
    "broker.heartbeat.interval.ms": "500",
    # A small machine: the broker shares it with what is tested.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
}


TO_BE_KILLED = {"broker.session.timeout.ms": "3000"}
"""For a broker that is killed in tests: it may come back only when its former registration has run out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A broker's place in a cluster of several.

    Attributes:
        number: Its ``node.id``, from 1 on.
        controllers: The controller port of each node, by number.
        cluster_id: The cluster's.
    """

    number: int
    controllers: tuple[int, ...]
    cluster_id: str


class BrokerError(RuntimeError):
    """The broker can't be installed or started; the message says what to do, or shows the end of its log."""


class KafkaBroker:
    """A broker that runs from construction to ``close`` (or the end of the ``with`` block, or of this process).

    Attributes:
        bootstrap: ``127.0.0.1:PORT`` of the listener without authentication.
        sasl_bootstrap: ``127.0.0.1:PORT`` of the SASL_PLAINTEXT listener (mechanism PLAIN).
        user: The one user of that listener.
        password: The user's password.
        more: Name to ``127.0.0.1:PORT`` of the further listeners.
        log_file: Where the broker's log is written (warnings and errors).
    """

    def __init__(
        self,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        node: Node | None = None,
        data_folder: Path | None = None,
        more_listeners: Mapping[str, str] | None = None,
        classes: Path | None = None,
    ):
        """Starts a broker and waits until it answers.

        Args:
            port: Port of the listener without authentication; 0 picks a free one.
            properties: Broker properties, added to or in place of ``PROPERTIES``.
            node: Its place in a cluster; alone if left out.
            data_folder: Where its data are; a temporary folder if left out.
            more_listeners: Name to security protocol of further listeners. Their settings are ``properties``.
            classes: A folder of Java classes that the broker is to find besides its own.

        Raises:
            BrokerError: ``java`` or ``mvn`` is missing, or the broker did not start.
        """
        self._class_path = f"{install()}/*" if classes is None else f"{install()}/*:{classes}"
        more_listeners = more_listeners or {}
        first, sasl, controller, *more = free_ports(3 + len(more_listeners))
        self._node = node or Node(1, (controller,), new_cluster_id())
        voters = ",".join(f"{number}@127.0.0.1:{at}" for number, at in enumerate(self._node.controllers, 1))
        self.bootstrap = f"127.0.0.1:{port or first}"
        self.sasl_bootstrap = f"127.0.0.1:{sasl}"
        self.more = {name: f"127.0.0.1:{at}" for name, at in zip(more_listeners, more, strict=True)}
        self.user, self.password = "alice", uuid.uuid4().hex
        self._directory = Path(tempfile.mkdtemp(prefix="kafka-broker-"))
        self._config = self._directory / "server.properties"
        self.log_file = self._directory / "broker.log"
        listeners = f"PLAINTEXT://{self.bootstrap},SASL_PLAINTEXT://{self.sasl_bootstrap}"
        listeners += "".join(f",{name}://{address}" for name, address in self.more.items())
        protocols = PROPERTIES["listener.security.protocol.map"]
        protocols += "".join(f",{name}:{protocol}" for name, protocol in more_listeners.items())
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        all_properties = {
            **PROPERTIES,
            "listener.security.protocol.map": protocols,
            "node.id": str(self._node.number),
            "controller.quorum.voters": voters,
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self._node.controllers[self._node.number - 1]}",
            "advertised.listeners": listeners,
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{login} user_{self.user}="{self.password}";',
            "log.dirs": str(data_folder or self._directory / "data"),
            **(properties or {}),
        }
        self._config.write_text("".join(f"{name}={value}\n" for name, value in all_properties.items()))
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        try:
            self._format()
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The process id of the broker's JVM; ``None`` while it is stopped."""
        return self._process.pid if self._process else None

    def start(self, timeout_s: float = 300) -> None:
        """Starts the stopped broker, on the same ports and data, and waits until it answers a metadata request.

        Raises:
            BrokerError: It ended, or did not answer in time; shows the end of the log.
        """
        if self._process is not None:
            return
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._config)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at a terminal is for the parent, which then stops the broker
            )
        # Ends the broker when this process ends in any way, kill -9 too: the pipe closes without a line. (PR_SET_PDEATHSIG
        # would be tied to the thread that started the broker, and to Linux.)
        self._watcher = subprocess.Popen(
            ["sh", "-c", 'read -r _ || { kill -9 "$1"; rm -rf "$2"; }', "sh", str(self._process.pid), str(self._directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._wait_until_ready(time.monotonic() + timeout_s)

    def stop(self, timeout_s: float = 30) -> None:
        """Shuts the broker down in order (SIGTERM); its data stay, so that ``start`` goes on from there."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """Ends the broker as a power cut would (SIGKILL); its data stay."""
        self._end(signal.SIGKILL, 30)

    def restart(self) -> None:
        """Stops the broker if it runs, and starts it on the same ports and data."""
        self.stop()
        self.start()

    def wait(self) -> None:
        """Waits until the broker ends by itself, which it should not."""
        if self._process is not None:
            self._process.wait()

    def close(self) -> None:
        """Ends the broker and removes its data. May be called twice."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def log_tail(self) -> str:
        """The last lines of the broker's log."""
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:]) or "(the log is empty)"

    def _java(self, main: str, *arguments: str) -> list[str]:
        simple_logger = "-Dorg.slf4j.simpleLogger"
        return [
            "java",
            "-Xms256m",
            "-Xmx1g",
            f"{simple_logger}.defaultLogLevel=warn",
            f"{simple_logger}.showDateTime=true",
            f"{simple_logger}.dateTimeFormat=HH:mm:ss.SSS",
            "-cp",
            self._class_path,
            main,
            *arguments,
        ]

    def _format(self) -> None:
        command = self._java("kafka.tools.StorageTool", "format", "-t", self._node.cluster_id, "-c", str(self._config))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerError(f"Kafka's StorageTool failed:\n{done.stdout}{done.stderr}")

    def _wait_until_ready(self, deadline: float) -> None:
        assert self._process is not None
        host, port = self.bootstrap.split(":")
        admin = None
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                status = self._process.returncode
                self._forget()
                raise BrokerError(f"Kafka ended at once (status {status}). The end of {self.log_file}:\n{self.log_tail()}")
            with contextlib.suppress(OSError, KafkaException):
                # A plain connection first: librdkafka logs and backs off when nobody listens yet.
                socket.create_connection((host, int(port)), timeout=1).close()
                admin = admin or AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
                if admin.list_topics(timeout=2).brokers:
                    return
            time.sleep(0.05)
        tail = self.log_tail()
        self.kill()
        raise BrokerError(f"Kafka did not answer at {self.bootstrap} in time. The end of its log:\n{tail}")

    def _end(self, number: int, timeout_s: float) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        self._process = None
        if self._watcher is not None:
            self._watcher.communicate(b"\n")  # a line: the watcher has nothing left to do
            self._watcher = None


def new_cluster_id() -> str:
    """Returns a random cluster id."""
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return "A" + cluster_id[1:]  # a leading dash would be read as an option


def install() -> Path:
    """Returns the directory of Kafka's jars; copies them there with Maven the first time. Safe among processes.

    Raises:
        BrokerError: ``java`` or ``mvn`` is missing, or Maven failed.
    """
    return install_jars(JARS, POM)


def install_jars(jars: Path, pom: Path, *properties: str) -> Path:
    """Returns ``jars``, the directory of what ``pom`` depends on, after copying it there if need be.

    Args:
        jars: Where they go.
        pom: Maven's file.
        properties: Maven's, for the file: ``-Dname=value``.

    Raises:
        BrokerError: ``java`` or ``mvn`` is missing, or Maven failed.
    """
    for program, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven")):
        if shutil.which(program) is None and (program == "java" or not jars.exists()):
            raise BrokerError(f"{program} is not on the PATH: install it (Debian, Ubuntu: apt-get install {package})")
    jars.parent.mkdir(exist_ok=True)
    with jars.with_name(f"{jars.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if jars.exists():
            return jars
        with tempfile.TemporaryDirectory(dir=jars.parent, prefix="jars-") as temporary:
            partial = Path(temporary) / "jars"
            command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
            command += [*properties, f"-DoutputDirectory={partial}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BrokerError(f"Maven could not get the jars of {pom.name}:\n{(done.stdout + done.stderr)[-3000:]}")
            partial.rename(jars)  # at once: nobody ever sees half of them
    return jars


def free_ports(count: int) -> Iterator[int]:
    """Yields different ports that nobody listens on."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
        count -= 1
        if not count:
            return
    raise BrokerError(f"no free port between {PORTS.start} and {PORTS.stop}")


def main(say: Callable[..., None] = print) -> None:
    """Runs a broker until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka_broker", description="A real Apache Kafka for trying out.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; a free one by default")
    parser.add_argument("--property", action="append", default=[], metavar="K=V", help="a broker property (repeatable)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    properties = dict(item.partition("=")[::2] for item in args.property)
    try:
        with KafkaBroker(args.port, properties) as broker:
            say(f"Apache Kafka {VERSION} on {broker.bootstrap} (process {broker.pid}, log {broker.log_file})", flush=True)
            say(f"SASL_PLAINTEXT (PLAIN) on {broker.sasl_bootstrap}: user {broker.user}, password {broker.password}")
            say("Ctrl-C stops it and removes its data.", flush=True)
            broker.wait()
            raise SystemExit(f"Kafka ended. The end of its log:\n{broker.log_tail()}")
    except BrokerError as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        say("stopped")


if __name__ == "__main__":
    main()
