"""Gets what tests need from package registries before they need it: jars, Prism, the real servers' environments.

    python -m tests.prepare

``make test`` runs it in the background, at a low priority, while the unit tests run. It only saves time: a test that needs
one of these gets it by itself if it is not there yet, and waits if it is under way here, for each has a lock.
"""

from __future__ import annotations

import concurrent.futures
import os
import sys
import time
from collections.abc import Callable, Sequence

from pipeline.runners.prism import find_prism
from tests import flink_cluster, kafka_broker
from tests.deploy import tools
from tests.servers import kserve_v2, litserve, mlserver, multi_model_server, test_tfx_bsl, torchserve, triton
from tests.servers.environment import environment
from transforms.errors import ScoringError
from transforms.kafka.beam.expansion.service import classpath

LOW_PRIORITY = 10

ENVIRONMENTS: dict[str, Sequence[str]] = {
    "deploy": tools.PINS,
    "mlserver": mlserver.REQUIREMENTS,
    "kserve": kserve_v2.REQUIREMENTS,
    "pytriton": triton.REQUIREMENTS,
    "multi-model-server": multi_model_server.REQUIREMENTS,
    "torchserve": torchserve.REQUIREMENTS,
    "litserve": litserve.REQUIREMENTS,
    "tfx-bsl": test_tfx_bsl.PINS,
}


def quiet(_: str) -> None:
    """Says nothing: the progress of each is not worth a line here."""


# Side by side: Prism takes the processor, the others the network.
LANES: tuple[dict[str, Callable[[], object]], ...] = (
    {"Prism": lambda: find_prism(quiet)},
    {
        "Kafka's jars": kafka_broker.install,
        **{name: lambda name=name: environment(name, ENVIRONMENTS[name]) for name in ENVIRONMENTS},  # type: ignore[misc]
        "Beam's jars": lambda: classpath(quiet),
        "Flink's jars": flink_cluster.install,
    },
)


def get(lane: dict[str, Callable[[], object]]) -> bool:
    """Gets one thing after the other, and prints what it took; returns whether all could be had."""
    whole = True
    for name, install in lane.items():
        began = time.monotonic()
        try:
            install()
        except (OSError, RuntimeError, ScoringError) as error:  # the test that needs it says so, too
            print(f"{name}: {error}", flush=True)
            whole = False
        else:
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return whole


def main() -> int:
    """Gets everything; returns the exit status."""
    os.nice(LOW_PRIORITY)
    with concurrent.futures.ThreadPoolExecutor(len(LANES)) as pool:
        return 0 if all(list(pool.map(get, LANES))) else 1


if __name__ == "__main__":
    sys.exit(main())
