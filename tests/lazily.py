"""Modules that take seconds to import, for tests that need them.

pytest-xdist lets each of its processes collect all tests: with TensorFlow imported at the top of a test's module, all of
them would import it, and one of them run the tests.
"""

from __future__ import annotations

import importlib
from typing import Any


class Lazily:
    """Stands for a module, which is imported when something of it is asked for.

    Args:
        name: The module.
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_") or attribute == "pytestmark":  # pytest asks all that stands in a module for those
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


tensorflow: Any = Lazily("tensorflow")
