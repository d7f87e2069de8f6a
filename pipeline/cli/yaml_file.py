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
        text = Path(path).read_text(encoding="utf-8")
        content, lines = yaml.safe_load(text), _lines(text)
    except OSError as error:
        mistakes.append(f"--{CONFIG}={path}: can't be read: {error.strerror}")
        return {}
    except UnicodeDecodeError as error:
        mistakes.append(f"--{CONFIG}={path}: can't be read: is not UTF-8 text (byte {error.start})")
        return {}
    except yaml.YAMLError as error:
        mistakes.append(f"--{CONFIG}={path}{_where(error)}: can't be read as YAML; give flags as 'name: value' lines")
        return {}
    if not isinstance(content, dict):
        mistakes.append(f"--{CONFIG}={path}: give flags as 'name: value' lines")
        return {}
    known = {name for name in content if name in names and name != CONFIG}
    unknown = [name for name in content if name not in known]
    mistakes += [
        f"--{CONFIG}={path}, line {lines.get(str(name), [1])[0]}: {name}: no such flag{nearest(str(name), list(names))}"
        for name in unknown
    ]
    mistakes += [
        f"--{CONFIG}={path}, line {found[-1]}: {name}: stands on line {found[0]} already; give a list for several values"
        for name, found in lines.items()
        if len(found) > 1
    ]
    return {name: _plain(value) for name, value in content.items() if name in known and value is not None}


def _lines(text: str) -> dict[str, list[int]]:
    """Returns the lines on which each name at the top of a file stands."""
    found: dict[str, list[int]] = {}
    node = yaml.compose(text)
    for name, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        found.setdefault(str(name.value), []).append(name.start_mark.line + 1)
    return found


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f", line {mark.line + 1}"


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
