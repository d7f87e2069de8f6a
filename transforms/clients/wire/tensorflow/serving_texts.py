"""``SERVING_RULES``: error texts of TensorFlow Serving that contradict their status code.

They are used by every protocol that reaches it: gRPC and REST, ``saved_model://``, and Vertex AI endpoints with its
container.
"""

from __future__ import annotations

from transforms.clients.wire.status_codes import text_rule
from transforms.errors import NotServedError

SERVING_RULES = (
    # In some calls an unknown signature or label is INVALID_ARGUMENT (predict_util.cc, classifier.cc, server_core.cc). The
    # records are not at fault, so bisection would not help.
    text_rule(
        "INVALID_ARGUMENT OUT_OF_RANGE ALREADY_EXISTS 400 413 422",
        r"(?i)serving signature|no signature was found with the name|unrecognized servable version label"
        r"|expected (classification|regression) signature|expected (classify|regress) signature",
        NotServedError,
    ),
)
