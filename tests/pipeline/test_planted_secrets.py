"""Secrets planted in every place of the command line that takes one, and looked for in all that a job leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLACES = ("SASL_PASSWORD", "KEY_PASSWORD", "MODEL_TOKEN", "REGISTRY_USER_INFO", "OAUTH_SECRET")
SECRETS = {place: f"planted-{place.lower()}-5e1f" for place in PLACES}
IN_FILE = "planted-in-a-file-7c2a"


def command(folder: Path, *more: str) -> list[str]:
    """A job with each secret where it belongs: from the environment, and from a file of properties."""
    properties = folder / "kafka.properties"
    properties.write_text(f"ssl.keystore.password={IN_FILE}\n")
    return [
        *(sys.executable, "-m", "pipeline", "--runner=DirectRunner", "--bootstrap_servers=127.0.0.1:1"),
        *("--input_topic=in", "--output_topic=out", "--model=http://127.0.0.1:1/v1/models/m", "--wait_for_start_s=0"),
        *("--kafka_config=security.protocol=SASL_PLAINTEXT", "--kafka_config=sasl.mechanism=PLAIN"),
        *("--kafka_config=sasl.username=u", "--kafka_config=sasl.password=${SASL_PASSWORD}", "--kafka_config=debug=all"),
        *(
            "--kafka_config=ssl.key.password=${KEY_PASSWORD}",
            "--kafka_config=sasl.oauthbearer.client.secret=${OAUTH_SECRET}",
        ),
        *(
            "--model_header=authorization=Bearer ${MODEL_TOKEN}",
            "--input_format=avro",
            "--schema_registry=http://127.0.0.1:1",
        ),
        *("--schema_registry_config=basic.auth.user.info=u:${REGISTRY_USER_INFO}", f"--kafka_config_file={properties}"),
        *more,
    ]


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ((), (1, 2)),
        (("--no_such_flag=1",), (2,)),
        (("--batch_max_size=x", "--kafka_config=nonsense", "--model_header=no equals"), (2,)),
    ],
    ids=["nobody there", "unknown flag", "wrong values"],
)
def test_no_secret_is_left_behind(tmp_path: Path, flags: tuple[str, ...], status: tuple[int, ...]) -> None:
    """Not in the output, with librdkafka's own debug log, and in no temporary file; the arguments have only references."""
    folder, temporary = tmp_path / "given", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    environ = {**os.environ, **SECRETS, "TMPDIR": str(temporary), "PYTHONASYNCIODEBUG": "1"}
    started = command(folder, *flags)
    done = subprocess.run(started, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in status, done.stderr[-2000:]
    assert "[redacted]" in done.stderr or len(flags) > 1, "librdkafka tells its configuration once it has one"
    left = {"stdout": done.stdout, "stderr": done.stderr, "arguments": " ".join(started)}
    for path in temporary.rglob("*"):
        left[str(path)] = path.read_bytes().decode("latin-1") if path.is_file() else path.name
    for planted in (*SECRETS.values(), IN_FILE):
        assert [where for where, text in left.items() if planted in text] == []
