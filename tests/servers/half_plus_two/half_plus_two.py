"""The model that multi-model-server and TorchServe serve in the tests: y = 0.5 * x + 2 on rows of 4 numbers.

Runs in the server's own environment, so it imports nothing of ours. It takes what the two servers hand to a handler: for
each request a dict, with the request's body under ``body``, or with the parts of a multipart form by their names.
"""

import base64
import json
from typing import Any

WIDTH = 4
POISON = -999.0


def handle(data: Any, context: Any) -> Any:
    """Answers a batch of requests; called once with ``None`` when the model is loaded."""
    if data is None:
        return None
    return [_answer(row, context, index) for index, row in enumerate(data)]


def _answer(row: Any, context: Any, index: int) -> Any:
    given = row.get("data", row.get("body", row.get("x")))
    if isinstance(given, (bytes, bytearray)):
        text = bytes(given)
        if text.startswith(b"raw:"):  # not a document: tell what came
            context.set_response_content_type(index, "application/octet-stream")
            return text[::-1]
        given = json.loads(text)
    if isinstance(given, str):
        return given.upper()
    named = isinstance(given, dict)
    if named and "b64" in given:
        return {"bytes": len(base64.b64decode(given["b64"]))}
    x = given["x"] if named else given
    if x[0] == POISON:
        raise ValueError("a poisoned row")
    if len(x) != WIDTH:
        context.set_response_status(400, "wrong width", index)
        return {"reason": f"expected {WIDTH} numbers, came {len(x)}"}
    y = [0.5 * value + 2 for value in x]
    return {"y": y} if named else y
