"""The page about Kafka in Beam: its three pipelines, as they stand there."""

from __future__ import annotations

import json
import runpy
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.embedded.broker import EmbeddedBroker
from tests import topics
from tests.docs.pages import blocks

PAGE = "docs/how-to/kafka-in-beam.md"
ORDERS = [{"customer": "1"}, {"customer": "7"}, {"customer": "2"}]
NAMES = ("orders", "orders.capitals", "orders.enriched", "orders.unknown")

pytestmark = pytest.mark.usefixtures("not_draining")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with EmbeddedBroker(dict.fromkeys(NAMES, 1)) as started:
        values = [json.dumps(order).encode() for order in ORDERS]
        topics.produce(started.address, "orders", values, keys=[b"a", None, b"c"], timestamps_ms=[1, 2, 3])
        yield started.address


def run(title: str, broker: str, folder: Path) -> None:
    """Runs a program of the page, in this process: importing Beam takes longer than all of them."""
    [block] = [block for block in blocks(PAGE) if block.title == title]
    assert "127.0.0.1:9092" in block.text
    (folder / title).write_text(block.text.replace("127.0.0.1:9092", broker))
    runpy.run_path(str(folder / title))


def test_map_and_write(broker: str, tmp_path: Path) -> None:
    run("map_and_write.py", broker, tmp_path)
    written = topics.read_all(broker, "orders.capitals")
    assert [(it.key, it.value, it.timestamp_ms) for it in written] == [
        (b"a", b'{"CUSTOMER": "1"}', 1),
        (None, b'{"CUSTOMER": "7"}', 2),
        (b"c", b'{"CUSTOMER": "2"}', 3),
    ]


def test_enrich(broker: str, tmp_path: Path) -> None:
    run("enrich.py", broker, tmp_path)
    enriched = [json.loads(it.value or b"") for it in topics.read_all(broker, "orders.enriched")]
    assert enriched == [{"customer": "1", "name": "Ada"}, {"customer": "2", "name": "Grace"}]
    assert [json.loads(it.value or b"") for it in topics.read_all(broker, "orders.unknown")] == [{"customer": "7"}]


def test_read_only(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("read_only.py", broker, tmp_path)
    database = sqlite3.connect("orders.db")
    found = database.execute("select place, value from orders order by place").fetchall()
    database.close()
    assert [(place, json.loads(value)) for place, value in found] == [
        (f"orders/0/{offset}", order) for offset, order in enumerate(ORDERS)
    ]
    assert topics.committed_offsets(broker, "read-only", "orders") == {0: 3}
