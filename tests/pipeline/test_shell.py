"""Words that are pasted into a shell arrive as they were."""

from __future__ import annotations

import subprocess

from pipeline.shell import shell_command, shell_word

WORDS = [
    "--features=a=$.in.a|number,b=[$.x,$['it\\'s, |']]",
    "--kafka_config=sasl.password=${PASSWORD}",
    "--labels=a b.txt",
    "~/x",
    "*",
    "{a,b}",
    "!!",
    "`id`",
    "$(id)",
    "a\nb\t'c'\\x41",
    "caf\u00e9 \u200b\x1b[0m",
    "--group_id=\u00e9",
    "",
]


def test_each_word_arrives() -> None:
    line = shell_command(["printf", "%s\\0", *WORDS])
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().split("\0")[:-1] == WORDS


def test_a_line_stays_a_line() -> None:
    """What a terminal does not show as it is, is written by escapes."""
    assert shell_command(WORDS).isprintable()
    assert shell_word("--model=grpc://h:8500/m?signature=a") == "'--model=grpc://h:8500/m?signature=a'"
    assert shell_word("--input_topic=orders") == "--input_topic=orders"
