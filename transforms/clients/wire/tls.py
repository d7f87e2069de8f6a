"""What is wrong with a certificate, and what cures it: OpenSSL's and gRPC's texts say the same in several ways."""

from __future__ import annotations

import re

_CURES = (
    (re.compile(r"certificate has expired", re.IGNORECASE), "the server's certificate has expired: renew it at the server"),
    (
        re.compile(r"not yet valid", re.IGNORECASE),
        "the server's certificate is not valid yet: check the clocks of both machines",
    ),
    (
        re.compile(r"host ?name (mismatch|verification)|ip address mismatch|not in peer certificate", re.IGNORECASE),
        "the server's certificate is for another host name: use that name in the model's URI",
    ),
    (
        re.compile(r"unable to (get (local )?issuer|verify the first)|self.signed certificate", re.IGNORECASE),
        "the server's certificate is of an authority that is not trusted here: name its file by --model_ca_file",
    ),
    (
        re.compile(r"certificate required|bad certificate|handshake failure", re.IGNORECASE),
        "the server wants a certificate of its clients: name it by --model_cert_file and --model_key_file",
    ),
)

ABOUT_CERTIFICATES = "|".join(re.escape(cure) for _, cure in _CURES)
"""The pattern of every text that ``with_tls_cure`` has found to be about a certificate."""


def with_tls_cure(text: str) -> str:
    """Returns an error text of a connection with what is wrong before it, if it is about a certificate."""
    return next((f"{cure} ({text})" for pattern, cure in _CURES if pattern.search(text)), text)
