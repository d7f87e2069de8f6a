"""KServe's own Python server with a custom model: y = 0.5 * x + 2 on rows of 4 numbers. Run in KServe's environment.

    python kserve_model.py HTTP_PORT

KServe listens on all interfaces and has no option for another; here the uvicorn that it runs is told 127.0.0.1. There is no
gRPC server.
"""

# The packages are those of the server's own environment.
import sys
from typing import Any

import kserve  # type: ignore[import-not-found]
import uvicorn  # type: ignore[import-not-found]
from kserve.errors import InvalidInput  # type: ignore[import-not-found]

POISON = -999.0
OVERFLOW = "overflow"
WIDTH = 4

_as_it_is = uvicorn.Config.__init__


def _on_loopback(self: Any, *args: Any, **kwargs: Any) -> None:
    _as_it_is(self, *args, **{**kwargs, "host": "127.0.0.1"})


class HalfPlusTwo(kserve.Model):
    """The model: a row that starts with ``POISON`` raises, ``OVERFLOW`` is infinite, another width is invalid input."""

    def load(self) -> bool:
        """Is ready at once."""
        self.ready = True
        return True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answers ``{"instances": […]}`` by ``{"predictions": […]}``; named rows by rows named ``y``."""
        return {"predictions": [self._row(row) for row in payload["instances"]]}

    def _row(self, row: Any) -> Any:
        named = isinstance(row, dict)
        x = row["x"] if named else row
        if x[0] == POISON:
            raise ValueError("a poisoned row")
        if len(x) != WIDTH:
            raise InvalidInput(f"expected {WIDTH} numbers, came {len(x)}")
        y = [float("inf") if value == OVERFLOW else 0.5 * float(value) + 2 for value in x]
        return {"y": y} if named else y


if __name__ == "__main__":
    uvicorn.Config.__init__ = _on_loopback
    model = HalfPlusTwo("half_plus_two")
    model.load()
    kserve.ModelServer(http_port=int(sys.argv[1]), workers=1, enable_grpc=False, access_log_format=None).start([model])
