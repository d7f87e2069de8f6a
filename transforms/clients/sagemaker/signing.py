"""Signs requests by AWS's Signature Version 4, with botocore's signer.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html.
"""

from __future__ import annotations

from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

SERVICE = "sagemaker"
"""The name of the service that requests are signed for: the runtime has that of the whole."""


def signed_headers(
    credentials: ReadOnlyCredentials, region: str, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """Returns the headers of a POST request: those given, all signed, and those of the signature. Does no I/O.

    The hash of the body is part of it: 6 MB take some 10 ms.

    Args:
        credentials: What to sign with.
        region: The region that the signature is for.
        url: The URL of the request.
        headers: Its headers. They must be sent as they are.
        body: Its body.
    """
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    SigV4Auth(credentials, SERVICE, region).add_auth(request)
    return dict(request.headers.items())
