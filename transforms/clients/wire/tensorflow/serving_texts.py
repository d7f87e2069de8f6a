"""What TensorFlow Serving says with a status code that means something else: rules for every protocol that reaches it.

It answers over gRPC and REST, in the worker (``saved_model://``), and as the container of a Vertex AI endpoint.
"""

from __future__ import annotations

from transforms.clients.wire.status_codes import text_rule
from transforms.errors import NotServedError

SERVING_RULES = (
    # A signature or label which is not there is INVALID_ARGUMENT in some calls (predict_util.cc, classifier.cc,
    # server_core.cc): nothing that leaving records out of the batch would cure.
    text_rule(
        "INVALID_ARGUMENT OUT_OF_RANGE ALREADY_EXISTS 400 413 422",
        r"(?i)serving signature|no signature was found with the name|unrecognized servable version label"
        r"|expected (classification|regression) signature|expected (classify|regress) signature",
        NotServedError,
    ),
)
