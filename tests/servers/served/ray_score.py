"""A Ray Serve deployment: one order in, its score out. Run as ``python ray_score.py PORT``; it serves until it is ended."""

import sys
import time
from typing import Any

import ray  # type: ignore[import-not-found]  # only there
from ray import serve


@serve.deployment(ray_actor_options={"num_cpus": 0.5}, max_ongoing_requests=32)
class Score:
    """Half of the amount."""

    async def __call__(self, request: Any) -> dict[str, float]:
        """Scores one."""
        order = await request.json()
        return {"score": float(order["amount"]) / 2}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", object_store_memory=100 << 20)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Score.bind())  # type: ignore[attr-defined]
    while True:
        time.sleep(3600)
