"""No protocol is forgotten by the tests that every client passes: what it sends, what errors mean, what the server wrote."""

from __future__ import annotations

import collections
from pathlib import Path

from transforms.clients.registry import schemes

HERE = Path(__file__).parent


def test_every_client_of_the_registry_has_its_contract() -> None:
    """In the folder of its protocol: ``test_contract*.py``; where a protocol has several clients, one named for each."""
    named = {entry.client for entry in schemes().values() if isinstance(entry.client, str)}
    ours = {client for client in named if client.startswith("transforms.clients.")}
    clients = collections.defaultdict(list)
    for client in ours:
        _, _, protocol, module = client.split(".")
        clients[protocol].append(module)
    assert len(clients) > 1
    for protocol, modules in clients.items():
        for module in modules:
            name = "test_contract*.py" if len(modules) == 1 else f"test_contract_{module}.py"
            texts = [file.read_text(encoding="utf-8") for file in (HERE / protocol).glob(name)]
            assert any("class Test" in text and "Contract" in text for text in texts), f"{protocol}: no {name}"
