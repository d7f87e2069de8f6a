"""The folder in which downloaded and built files are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "KAFKA_MODEL_SCORING_CACHE"
"""Environment variable that names the folder. Default: ``kafka-model-scoring`` in the user's cache folder."""


def cache_folder() -> Path:
    """Returns the folder, which may not exist yet."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kafka-model-scoring"
