"""The page about functions of the user's: its command, with its module in the current folder."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.embedded.broker import EmbeddedBroker
from tests import topics
from tests.docs.pages import blocks
from transforms.child_process import module_environ
from transforms.testing.stub_model import StubModel
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

PAGE = "docs/how-to/own-python.md"


def test_the_page(tmp_path: Path) -> None:
    [module] = [block for block in blocks(PAGE) if block.title]
    [command] = [block.commands()[0] for block in blocks(PAGE) if block.commands()]
    (tmp_path / module.title).write_text(module.text)
    orders: list[Any] = [
        {"id": 1, "price": 2.5, "count": 4},
        {"id": 2, "price": 1000, "count": 2},
        {"id": 3, "price": 1},
        None,
    ]
    names = ("orders", "orders.scored", "orders.scored.dead-letter")
    with EmbeddedBroker(dict.fromkeys(names, 2)) as broker, TfServingGrpcStub(StubModel("half_plus_two")) as stub:
        topics.produce(broker.address, "orders", [json.dumps(order).encode() for order in orders])
        command = command.replace("kafka:9092", broker.address).replace("serving:8500", stub.address)
        # In one process: two on the embedded broker never learn that both are done, as it keeps no offsets of transactions.
        command = command.replace("--workers=2", "--workers=1")
        # As the console script starts it: -P keeps the current folder off Python's path.
        words = [sys.executable, "-P", *command.replace("\\\n", "").split()[1:], "--until_end", "--status=plain"]
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=tmp_path, env=module_environ(), timeout=300, check=False
        )
        assert done.returncode == 0, done
        scored = {value["id"]: value for value in map(json.loads, _values(broker, "orders.scored"))}
        dead = topics.read_all(broker.address, "orders.scored.dead-letter")
    assert sorted(scored) == [1, 2]
    for order in orders[:2]:
        y = scored[order["id"]]["y"][0]
        assert math.isclose(y, math.log1p(order["price"] * order["count"]) / 2 + 2, rel_tol=1e-6)
        assert scored[order["id"]]["check"] == (y > 3)
    classes = [(value or b"").decode() for record in dead for name, value in record.headers if name.endswith("error.class")]
    assert set(classes) == {"PreprocessError"}  # the embedded broker shows aborted transactions, too


def _values(broker: EmbeddedBroker, topic: str) -> list[bytes]:
    return [record.value or b"" for record in topics.read_all(broker.address, topic)]
