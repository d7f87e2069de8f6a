"""AWS credentials by botocore's chain: environment, files, SSO, web identity, the container's or the machine's role.

Source: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html.
"""

from __future__ import annotations

import logging
from typing import Any

# Before anything of it is used: at DEBUG botocore logs the headers that it signs, a session token among them, and answers
# of STS, which hold keys; at INFO where each client's credentials were found.
logging.getLogger("botocore").setLevel(logging.WARNING)

CURE = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is given (aws sts "
    "get-caller-identity shows whether there are any)"
)


def load_default(region: str) -> Any:
    """Returns the credentials that botocore's chain finds; ``None`` for none. Blocks, and may ask a server.

    Args:
        region: The region of STS, where the chain asks it for the credentials of a role.

    Raises:
        ImportError: botocore is not installed.
    """
    from botocore.session import Session

    session = Session()
    session.set_config_variable("region", region)
    return session.get_credentials()
