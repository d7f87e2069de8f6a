"""``SERVING_RULES``: error texts of TensorFlow Serving that contradict their status code.

They are used by every protocol that reaches it: gRPC and REST, ``saved_model://``, and Vertex AI endpoints with its
container.
"""

from __future__ import annotations

from transforms.clients.wire.status_codes import text_rule
from transforms.errors import MergedBatchError, NotServedError, TransientError

SERVING_RULES = (
    # In some calls an unknown signature or label is INVALID_ARGUMENT (predict_util.cc, classifier.cc, server_core.cc). The
    # records are not at fault, so bisection would not help.
    text_rule(
        "INVALID_ARGUMENT FAILED_PRECONDITION OUT_OF_RANGE 400 413 422",
        r"(?i)serving signature|no signature was found with the name|unrecognized servable version label"
        r"|expected (classification|regression) signature|expected (classify|regress) signature",
        NotServedError,
    ),
    # batching_session.cc (--enable_batching): one request of the merged batch has another shape, and all of them fail.
    text_rule(
        "INVALID_ARGUMENT FAILED_PRECONDITION 400",
        r"from different tasks ?have different shapes",
        MergedBatchError,
        cure="let the server pad its batches (pad_variable_length_inputs), or use --max_in_flight=1",
    ),
    # The server's own state, whatever the request (resource_variable_ops.cc, lookup_table_op.cc).
    text_rule(
        "FAILED_PRECONDITION 400",
        r"(?i)uninitialized (value|variable)|variable was uninitialized|table not initialized",
        NotServedError,
    ),
    # No memory for this one request: a smaller one may be answered, and a record that is too large never is.
    text_rule("RESOURCE_EXHAUSTED 429", r"OOM when allocating", TransientError),
)
