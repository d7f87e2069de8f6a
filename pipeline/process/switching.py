"""``switch_often``: the thread that commits has its turn soon while a bundle's thread computes."""

from __future__ import annotations

import sys

SWITCH_INTERVAL_S = 0.001
"""Python's switch interval in seconds: how long the bundle's thread may run while the thread that commits waits."""


def switch_often() -> None:
    """Shortens Python's switch interval in this process."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
