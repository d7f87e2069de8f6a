"""Text of records and servers steers no terminal, forges no line, and stays readable."""

from __future__ import annotations

import io
import logging

import pytest

from pipeline.checking.output import CheckOutput
from pipeline.reporting.status import PlainStatus
from pipeline.terminal import tell_error
from transforms.dead_letter import dead_letter
from transforms.dead_letter_classes import DeadLetterClass
from transforms.headers import ERROR_MESSAGE
from transforms.printable import PrintableFormatter, counted, one_line, printable
from transforms.types import KafkaRecord

HOSTILE = "x\x1b]0;owned\x07\x1b[2J\r\u202eevil\nerror: forged"
SHOWN = "x\\x1b]0;owned\\x07\\x1b[2J\\r\\u202eevil"


@pytest.mark.parametrize("text", ["amount: missing", "größe → 5 °C", "日本語", ""])
def test_readable_text_stays(text: str) -> None:
    assert printable(text) == one_line(text) == text


def test_what_steers_is_an_escape() -> None:
    assert printable(HOSTILE) == f"{SHOWN}\nerror: forged"
    assert one_line(HOSTILE) == f"{SHOWN}\\nerror: forged"


def test_a_dead_letters_message_is_one_line() -> None:
    record = KafkaRecord("in", 0, 1, None, b"\x1b", b"\x1b\n", [("h", b"\x1b")])
    letter = dead_letter(record, DeadLetterClass.FIELD_ERROR.failure(HOSTILE), "dead")
    assert dict(letter.headers)[ERROR_MESSAGE] == f"{SHOWN}\\nerror: forged".encode()
    assert (letter.key, letter.value, letter.headers[0]) == (b"\x1b", b"\x1b\n", ("h", b"\x1b")), "the original stays"


def test_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell_error(HOSTILE)
    PlainStatus().say(HOSTILE)
    out = io.StringIO()
    CheckOutput(out).lines("model", HOSTILE)
    said = capsys.readouterr()
    assert said.err == f"error: {SHOWN}\nerror: error: forged\n"
    assert SHOWN in said.out
    assert out.getvalue().rstrip().endswith(f"{SHOWN}\\nerror: forged")
    assert "\x1b" not in said.err + said.out + out.getvalue()


def test_the_log() -> None:
    record = logging.LogRecord("transforms", logging.WARNING, "f.py", 1, "the server said %s", (HOSTILE,), None)
    assert PrintableFormatter("%(message)s").format(record) == f"the server said {SHOWN}\nerror: forged"


def test_one_and_several() -> None:
    assert [counted(number, "record") for number in (0, 1, 2, 1200)] == [
        "0 records",
        "1 record",
        "2 records",
        "1,200 records",
    ]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]
