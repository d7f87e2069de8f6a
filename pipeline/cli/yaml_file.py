"""``--config``: flags from a YAML file, ``name: value`` each."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli.nearest import nearest

CONFIG = "config"
"""The flag that names the file; it has no place in one."""


def flags_in(path: str, names: Collection[str], mistakes: list[str]) -> dict[str, Any]:
    """Returns what a file says, by flag, as the command line would give it.

    Args:
        path: The file.
        names: All flags.
        mistakes: What is wrong is added to it: the file can't be read, or has names that are no flags.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        mistakes.append(f"--{CONFIG}={path}: can't be read: {type(error).__name__}: {str(error).splitlines()[0]}")
        return {}
    if not isinstance(content, dict):
        mistakes.append(f"--{CONFIG}={path}: give flags as 'name: value' lines")
        return {}
    known = {name for name in content if name in names and name != CONFIG}
    unknown = [name for name in content if name not in known]
    mistakes += [f"--{CONFIG}={path}: {name}: no such flag{nearest(str(name), list(names))}" for name in unknown]
    return {name: _plain(value) for name, value in content.items() if name in known and value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):  # kafka_config: {name: value}
        return [f"{key}={_item(item)}" for key, item in value.items()]
    if isinstance(value, (list, bool)):
        return value
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _item(value: Any) -> str:
    """One value of ``name: {key: value}``; a list is several columns of one input (``features``)."""
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(_plain(value))
