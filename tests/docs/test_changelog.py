"""What merges do to a changelog: an entry twice, or a release with two lists of the same kind."""

from __future__ import annotations

import re
from collections import Counter

from tests.kafka_broker import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_entry_stands_twice() -> None:
    entries = [" ".join(entry.split()) for entry in re.findall(r"^- .*(?:\n  .*)*", TEXT, re.MULTILINE)]
    assert [entry for entry, times in Counter(entries).items() if times > 1] == []


def test_a_release_has_each_list_once() -> None:
    for release in TEXT.split("\n## ")[1:]:
        lists = re.findall(r"^### (.*)", release, re.MULTILINE)
        assert len(lists) == len(set(lists)), release.splitlines()[0]
