"""``is_authority``: whether a text names a host, with or without a port, and holds nothing else."""

from __future__ import annotations

import re

HOST = r"(?:\[[0-9A-Fa-f:][^\[\]\s,/]*\]|[^\[\]:\s,/?#@\\\x00-\x1f\x7f]+)"
"""A name, an IPv4 address, or an IPv6 address in brackets, as a regular expression that RE2 takes, too."""

_AUTHORITY = re.compile(rf"{HOST}(?::[0-9]*)?")


def is_authority(text: str) -> bool:
    """Whether a text is ``HOST[:PORT]`` and nothing more; ``urlsplit`` drops text before or after brackets."""
    return _AUTHORITY.fullmatch(text) is not None
