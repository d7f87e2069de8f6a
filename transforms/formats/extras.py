"""Packages that only some flags need: what is said where one is not installed."""

from __future__ import annotations

from transforms.errors import ConfigError


def missing(flag: str, package: str, extra: str) -> ConfigError:
    """Returns the error for a flag that needs a package which is not installed, with the cure.

    Args:
        flag: The flag, without ``--``.
        package: The package.
        extra: The extra of this project that brings it.
    """
    cure = f"pip install 'kafka-model-scoring[{extra}]'"
    return ConfigError([f"--{flag}: needs a package that is not here ({package}): {cure}"])
