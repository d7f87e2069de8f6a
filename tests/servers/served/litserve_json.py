"""A LitServe app with JSON of its own: one order in, its score out. Run as ``python litserve_json.py PORT``."""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]  # only there


class Score(litserve.LitAPI):
    """Half of the amount; LitServe makes batches of the requests that wait."""

    def setup(self, device: Any) -> None:
        """Loads the model."""
        self.share = 0.5

    def decode_request(self, request: dict[str, Any], **_: Any) -> float:
        """Takes the amount."""
        return float(request["amount"])

    def predict(self, amount: float, **_: Any) -> float:
        """Scores one."""
        return amount * self.share

    def encode_response(self, score: float, **_: Any) -> dict[str, float]:
        """Answers."""
        return {"score": score}


if __name__ == "__main__":
    server = litserve.LitServer(Score(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
