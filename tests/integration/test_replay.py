"""``python -m pipeline.replay`` and ``pipeline.dead_letters`` with the real Kafka and the real job."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.dead_letter_tools.flags import parse_replay
from pipeline.dead_letter_tools.replay import replay as replay_here
from tests import topics
from tests.docs.pages import command_blocks
from tests.integration.conftest import NewJob
from tests.integration.process import START_S, Job, wait_until
from transforms.kafka.stop import reset_drain
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import Headers, KafkaRecord

BROKEN = b'{"x": [1'
ATTEMPTS, LETTER = "inference.replay.attempts", "inference.replay.dead_letter"


def start(job: Job, command: str, *flags: str) -> subprocess.Popen[str]:
    """Starts a command with the flags of the job."""
    return subprocess.Popen(
        [sys.executable, "-m", f"pipeline.{command}", *flags_of(job), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def done(process: subprocess.Popen[str], status: int = 0) -> str:
    printed, _ = process.communicate(timeout=START_S)
    assert process.returncode == status, printed
    return printed


def flags_of(job: Job) -> list[str]:
    return [f"--bootstrap_servers={job.bootstrap}", f"--output_topic={job.output}", *job.flags]


def replay(job: Job, folder: Path, *flags: str) -> dict[str, Any]:
    """Replays in this process, and returns the counts."""
    path = folder / "counts.json"
    reset_drain()
    assert replay_here(parse_replay([*flags_of(job), f"--summary_json={path}", *flags], {}), io.StringIO()) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def inputs(job: Job) -> list[KafkaRecord]:
    topics.wait_for_open_transactions(job.bootstrap, job.inputs[0])
    return topics.read_all(job.bootstrap, job.inputs[0])


def carried(record: KafkaRecord) -> Headers:
    """The headers that the record had before it was replayed."""
    return [header for header in record.headers if header[0] not in (ATTEMPTS, LETTER)]


def test_records_come_back_as_they_were_and_a_second_run_does_nothing(
    new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path
) -> None:
    """Keys, null ones too, timestamps, headers, partitions. After the model is mended, each has its prediction."""
    job = new_job(stub.uri(), partitions=3)
    now_ms = int(time.time() * 1000)
    keys = [None if i % 7 == 0 else b"" if i % 7 == 1 else b"key-%d" % i for i in range(60)]
    headers: list[Headers] = [
        [("traceparent", b"00-%d" % i), ("twice", b"1"), ("twice", None)] if i % 2 else [] for i in range(60)
    ]
    topics.produce(
        job.bootstrap,
        job.inputs[0],
        [b'{"x": [%d]}' % i for i in range(60)],
        keys=keys,
        headers=headers,
        timestamps_ms=[now_ms - i * 1000 for i in range(60)],
        # Not where the keys would say; and each has healthy ones, too: a model server that has refused the first 16 and
        # answered none is waited for.
        partitions=[i // 3 % 3 for i in range(60)],
    )
    stub.faults.poison = lambda row: float(row["x"][0]) % 3 == 0
    assert job.run("--until_end").summary["dead_letters"] == 20
    before = inputs(job)

    dry = done(start(job, "replay", "--dry_run", "--sample=1"))
    assert "would be replayed 20" in dry
    assert len(inputs(job)) == 60, "and nothing was"
    assert topics.partition_count(job.bootstrap, f"{job.output}.dead-letter.replayed") == 0

    assert replay(job, tmp_path) | {"refused_by_reason": {}} == {
        "read": 20, "replayed": 20, "replayed_before": 0, "other": 0, "refused": 0, "refused_by_reason": {},
        "dead_letters_by_class": {},
    }  # fmt: skip
    again = replay(job, tmp_path)
    assert (again["replayed"], again["replayed_before"]) == (0, 20)

    after = inputs(job)
    came_back = [record for record in after if ATTEMPTS in dict(record.headers)]
    assert len(after) == 80
    originals = {(record.partition, record.value): record for record in before}
    for record in came_back:
        original = originals[record.partition, record.value]
        assert (record.key, record.timestamp_ms, carried(record)) == (original.key, original.timestamp_ms, original.headers)
        assert dict(record.headers)[ATTEMPTS] == b"1"
    letters = {f"{record.topic}/{record.partition}/{record.offset}".encode() for record in job.dead_letters()}
    assert {dict(record.headers)[LETTER] for record in came_back} == letters

    stub.faults.poison = None
    job.run("--until_end")
    values = Counter(json.loads(record.value or b"")["y"][0] for record in job.predictions())
    assert values == Counter({0.5 * i + 2: 1 for i in range(60)}), "each record has one prediction"


def test_a_guilty_record_does_not_circle(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    """Through the real job: replayed three times, then refused; the count survives each dead letter."""
    job = new_job(stub.uri())
    topics.produce(job.bootstrap, job.inputs[0], [BROKEN], keys=[b"k"], headers=[[("h", b"1")]])
    job.run("--until_end")
    counts = []
    for _ in range(3):
        counts.append(replay(job, tmp_path))
        job.run("--until_end")
    counts.append(replay(job, tmp_path))
    assert [count["replayed"] for count in counts] == [1, 1, 1, 0]
    assert [count["refused"] for count in counts] == [0, 0, 0, 1]
    letters = job.dead_letters()
    assert [dict(letter.headers).get(ATTEMPTS) for letter in letters] == [None, b"1", b"2", b"3"]
    assert [letter.headers[0] for letter in letters] == [("h", b"1")] * 4
    assert all(len([name for name, _ in letter.headers if name == "inference.error.stage"]) == 1 for letter in letters)
    assert replay(job, tmp_path, "--max_attempts=4")["replayed"] == 1


def test_filters_of_several_runs_share_the_dead_letters(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    """What one run skips, another replays; none is replayed twice."""
    job = new_job(stub.uri(), partitions=2)
    stub.faults.poison = lambda row: float(row["x"][0]) >= 100
    values: list[bytes | None] = [b'{"x": [%d]}' % (100 + i) for i in range(10)] + [BROKEN] * 6 + [None] * 4
    topics.produce(job.bootstrap, job.inputs[0], values, keys=[b"k%d" % (i % 5) for i in range(20)])
    job.run("--until_end")
    runs = [
        ("--stage=predict", 10),
        ("--error_class=Tombstone", 4),
        ("--key=k0", 2),
        ("--message=not JSON", 4),
        ("--key=k1", 0),
    ]
    for flags, expected in runs:
        assert replay(job, tmp_path, flags)["replayed"] == expected, flags
    assert replay(job, tmp_path)["replayed"] == 0
    assert Counter(record.value for record in inputs(job)[-40:]) == Counter(values * 2)


def test_killed_in_the_middle_and_started_again(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    """``kill -9``, several times: every record is back once, also to a reader that was there all the time."""
    job = new_job(stub.uri(), partitions=2, outputs=3)
    records = 6_000
    topics.produce(job.bootstrap, job.inputs[0], [BROKEN + b"%d" % i for i in range(records)])
    job.run("--until_end")
    assert len(job.dead_letters()) == records

    def written() -> int:
        return sum(topics.end_offsets(job.bootstrap, job.inputs[0], "read_uncommitted").values())

    for _ in range(3):
        at = written()
        process = start(job, "replay", "--max_rate=1000")
        wait_until(lambda at=at: written() > at + 400, "records that come back", START_S)  # type: ignore[misc]
        process.kill()
        process.communicate()
    counts = replay(job, tmp_path)
    assert 0 < counts["replayed"] < records
    assert counts["replayed"] + counts["replayed_before"] == records
    assert Counter(record.value for record in inputs(job)) == Counter({BROKEN + b"%d" % i: 2 for i in range(records)})
    assert replay(job, tmp_path)["replayed"] == 0


def test_two_at_once(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """The later one goes on; the earlier one ends, and says so."""
    job = new_job(stub.uri())
    records = 3_000
    topics.produce(job.bootstrap, job.inputs[0], [BROKEN + b"%d" % i for i in range(records)])
    job.run("--until_end")
    slow = start(job, "replay", "--max_rate=50")
    wait_until(lambda: sum(topics.end_offsets(job.bootstrap, job.inputs[0]).values()) > records + 10, "records", START_S)
    done(start(job, "replay"))
    assert "another replay of" in done(slow, status=1)
    assert Counter(record.value for record in inputs(job)) == Counter({BROKEN + b"%d" % i: 2 for i in range(records)})


def test_through_the_model(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    """``--score``: predictions with the job's flags, of the input record; what fails again is a dead letter again."""
    job = new_job(stub.uri(), partitions=2, flags=("--output_mode=merge",))
    stub.faults.poison = lambda row: float(row["x"][0]) >= 100
    values: list[bytes | None] = [b'{"x": [%d]}' % i for i in (1, 100, 101, 500)]
    topics.produce(job.bootstrap, job.inputs[0], values, keys=[b"k%d" % i for i in range(4)])
    job.run("--until_end")
    assert len(job.dead_letters()) == 3
    stub.faults.poison = lambda row: float(row["x"][0]) >= 500
    counts = replay(job, tmp_path, "--score")
    assert (counts["replayed"], counts["dead_letters_by_class"]) == (3, {"Rejected": 1})
    assert len(inputs(job)) == 4, "nothing goes back"
    scored = {record.key: record for record in job.predictions()}
    assert len(job.predictions()) == 3
    assert json.loads(scored[b"k1"].value or b"") == {"x": [100], "prediction": {"y": [52.0]}}
    named = {f"{record.topic}/{record.partition}/{record.offset}".encode(): record.key for record in inputs(job)}
    for key in (b"k1", b"k2"):
        headers = dict(scored[key].headers)
        assert named[headers["inference.source"] or b""] == key
        assert headers[ATTEMPTS] == b"1"
    assert Counter(dict(letter.headers).get(ATTEMPTS) for letter in job.dead_letters()) == {None: 3, b"1": 1}
    assert replay(job, tmp_path, "--score", "--message=nothing like it")["replayed"] == 0
    assert replay(job, tmp_path)["replayed"] == 1, "the new dead letter goes back; the others were done"


def test_what_was_cut_is_whole_again(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    """The dead-letter topic takes less than the input topic. What Kafka has deleted meanwhile is refused."""
    job = new_job(stub.uri())
    topics.configure(job.bootstrap, f"{job.output}.dead-letter", {"max.message.bytes": "20000"})
    long = [b"{" + base64.b64encode(os.urandom(22_500)) for _ in range(2)]  # what does not compress
    topics.produce(job.bootstrap, job.inputs[0], [*long, BROKEN])
    job.run("--until_end")
    topics.delete_records(job.bootstrap, job.inputs[0], {0: 1})
    counts = replay(job, tmp_path)
    assert (counts["replayed"], counts["refused"]) == (2, 1)
    assert "Kafka has deleted the input record" in next(iter(counts["refused_by_reason"]))
    assert [record.value for record in inputs(job)] == [long[1], BROKEN, long[1], BROKEN]


def test_a_record_that_its_topic_takes_no_more_is_named(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    """The others are replayed."""
    job = new_job(stub.uri())
    long = b"{" + base64.b64encode(os.urandom(22_500))
    topics.produce(job.bootstrap, job.inputs[0], [BROKEN, long, BROKEN])
    job.run("--until_end")
    topics.configure(job.bootstrap, job.inputs[0], {"max.message.bytes": "10000", "compression.type": "uncompressed"})
    counts = replay(job, tmp_path)
    assert (counts["replayed"], counts["refused"]) == (2, 1), counts
    assert "does not take it" in next(iter(counts["refused_by_reason"]))
    topics.configure(job.bootstrap, job.inputs[0], {"max.message.bytes": "1000000"})
    assert replay(job, tmp_path)["replayed"] == 1


def test_a_signal_ends_it_between_two_transactions(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    job = new_job(stub.uri())
    topics.produce(job.bootstrap, job.inputs[0], [BROKEN] * 500)
    job.run("--until_end")
    process = start(job, "replay", "--max_rate=20")
    wait_until(lambda: sum(topics.end_offsets(job.bootstrap, job.inputs[0]).values()) > 505, "records", START_S)
    process.terminate()
    assert "stopped: run it again for the rest" in done(process)
    counts = replay(job, tmp_path)
    assert counts["replayed"] + counts["replayed_before"] == 500
    assert len(inputs(job)) == 1_000


def test_a_topic_made_anew_has_nothing_replayed(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    """Of the same name: its offsets begin at 0 again, and the ledger of the one before is not its own."""
    job = new_job(stub.uri(), outputs=1)
    topics.produce(job.bootstrap, job.inputs[0], [BROKEN] * 3)
    job.run("--until_end")
    assert replay(job, tmp_path)["replayed"] == 3
    topics.delete_topic(job.bootstrap, f"{job.output}.dead-letter")
    topics.create_topic(job.bootstrap, f"{job.output}.dead-letter")
    job.run("--until_end")
    counts = replay(job, tmp_path)
    assert (counts["replayed"], counts["replayed_before"]) == (3, 0)


def test_what_is_in_the_topic_is_shown(new_job: NewJob, stub: TfServingGrpcStub, tmp_path: Path) -> None:
    """By class, with samples of each, over time; keys and messages, but values only where they are asked for."""
    job = new_job(stub.uri())
    topics.produce(job.bootstrap, job.inputs[0], [BROKEN] * 30 + [None, b""], keys=[b"key-%d" % i for i in range(32)])
    job.run("--until_end")
    replay(job, tmp_path, "--key=key-0")
    shown = done(start(job, "dead_letters", "--sample=3"))
    lines = [line.split() for line in shown.splitlines()]
    assert shown.startswith(f"{job.output}.dead-letter: 32 dead letters, of which 1 were replayed")
    assert ["decode", "JsonError", "30", "1"] in [line[:4] for line in lines]
    assert ["decode", "Tombstone", "1", "0"] in [line[:4] for line in lines]
    assert "key key-30" in shown
    assert '"x"' not in shown
    assert '{"x": [1' in done(start(job, "dead_letters", "--error_class=JsonError", "--show_values"))
    wrong = done(start(job, "dead_letters", f"--dead_letter_topic={job.output}.dead-leter"), status=2)
    assert f"did you mean '{job.output}.dead-letter'?" in wrong


def test_without_a_broker_they_say_so() -> None:
    """Side by side, as both wait for it."""
    flags = ["--bootstrap_servers=127.0.0.1:9", "--dead_letter_topic=dlq"]

    def run(command: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", f"pipeline.{command}", *flags]
        return subprocess.run(words, capture_output=True, text=True, timeout=START_S, check=False)

    with ThreadPoolExecutor(2) as threads:
        for process in threads.map(run, ("replay", "dead_letters")):
            assert process.returncode == 2
            assert "--bootstrap_servers=127.0.0.1:9" in process.stderr


def test_the_commands_of_the_guide(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """As printed, with the names of this test's topics, broker and server in place of the reader's."""
    job = new_job(stub.uri())
    topics.produce(job.bootstrap, job.inputs[0], [BROKEN] * 3 + [None])
    job.run("--until_end")
    own = {"kafka:9092": job.bootstrap, "grpc://serving:8500/fraud": stub.uri(), "orders.scored": job.output}
    printed = []
    for block in command_blocks("docs/how-to/dead-letters.md"):
        for command in block.commands():
            text = re.sub("|".join(map(re.escape, own)), lambda match: own[match[0]], command)
            environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            done = subprocess.run(
                ["bash", "-ec", text], capture_output=True, text=True, env=environment, timeout=START_S, check=False
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
            printed.append(done.stdout)
    shown, dry, replayed, scored = printed
    assert shown.startswith(f"{job.output}.dead-letter: 4 dead letters, of which 0 were replayed")
    assert "would be replayed 3" in dry
    assert re.search(r"replayed +3\n", replayed)
    assert re.search(r"replayed +1\n +predictions +0\n +dead letters +1 \(Tombstone 1\)", scored)
