"""A BentoML service: a list of orders in, their scores out. BentoML makes batches of the requests that wait, too."""

from typing import Any

import bentoml  # type: ignore[import-not-found]  # only there


@bentoml.service(workers=1, metrics={"enabled": False})
class Score:
    """Half of each amount."""

    @bentoml.api(batchable=True)
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, float]]:
        """Scores a batch."""
        return [{"score": float(row["amount"]) / 2} for row in rows]
