"""The documents keep to ``docs/vocabulary.md``: what it lists as not used is used in none of them."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, ROOT

VOCABULARY = "docs/vocabulary.md"
NAMES = re.compile(r"\b(Compute|Streaming) Engine\b")
"""Names of others' products that have such a word in them."""

MEANINGS = {
    "place (of an element)": r"\bplaces? of (an|the) element",
    "passed (of a group and its end offsets)": r"\bgroups? (has|have|had) passed|\bpassed (its|the|their) end",
    "mark (of an offset)": r"\bmark(s|ed|ing)? (of |on |at )?(an|the|its) offset|\boffset('s)? marks?\b",
    "behind (of a partition)": r"\bpartitions? (that )?(is|are) behind\b",
    "message (of a topic)": r"\bmessages? (in|of|from|to) (a|an|the|its) (\w+ )?topic|\bKafka messages?\b",
    "example (for an element)": r"\bexamples? (a|per|in a|of a|in one) (request|batch|chunk|bundle)",
    "park, pause (a bundle)": r"\bpark(s|ed|ing)?\b|\bpaus(e|es|ed|ing) (a|the|its) bundle|\bbundles? (is|are|was) paused",
}
"""The words that only a meaning is forbidden of: what tells it."""


def rows() -> list[str]:
    """The first column of the table."""
    section = (ROOT / VOCABULARY).read_text(encoding="utf-8").partition("## Words that are not used\n")[2]
    found = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return [row for row in found if row != "not"]


def patterns() -> dict[str, re.Pattern[str]]:
    """What must be in no document, by the words of the table."""
    found = {row: re.compile(MEANINGS[row], re.IGNORECASE) for row in rows() if "(" in row}
    words = [word for row in rows() if "(" not in row for word in row.split(", ")]
    spaced = {word: re.escape(word).replace(r"\ ", r"\s+") for word in words}
    return found | {word: re.compile(rf"\b{spaced[word]}(s|ed|ing)?\b", re.IGNORECASE) for word in words}


def prose(text: str) -> str:
    """A document without the code that it quotes and without the targets of its links; pictures in ``text`` blocks stay."""
    text = re.sub(r"^( *)(`{3,})(?!text)\w.*?^\1\2$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]+`", "", text)
    return NAMES.sub("", re.sub(r"\]\([^)]*\)", "]", text))


def found_in(text: str) -> list[str]:
    return [words for words, pattern in patterns().items() if pattern.search(prose(text))]


def test_every_meaning_that_is_not_used_can_be_looked_for() -> None:
    assert rows()
    assert {row for row in rows() if "(" in row} == MEANINGS.keys()


@pytest.mark.parametrize("page", [page for page in PAGES if page not in (VOCABULARY, "CHANGELOG.md")])
def test_words_that_are_not_used_are_in_no_document(page: str) -> None:
    """The changelog tells of what was, in the words of its time."""
    assert found_in((ROOT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("## Engines compared", ["engine"]),
        ("with poison\n records", ["poison record"]),
        ("one example a request", ["example (for an element)"]),
        ("a message of the input topic", ["message (of a topic)"]),
        ("```text\na bad record\n```", ["bad record"]),
        ("```console\n$ engine\nbad record\n```\n`engine`, [it](engine.md), Compute Engine", []),
        ("two examples; a message says why; partitions are paused, everything behind it", []),
    ],
)
def test_what_is_found(text: str, found: list[str]) -> None:
    assert found_in(text) == found
