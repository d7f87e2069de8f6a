"""``--config``: flags from a YAML file, ``name: value`` each."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Collection, Mapping
from typing import Any

import yaml

from pipeline.cli.nearest import nearest
from transforms.text_files import NotTextError, read_text

CONFIG = "config"
"""The flag that names the file; it has no place in one."""


@dataclasses.dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says.

    Attributes:
        values: By flag, as the command line would give it.
        lines: By flag, the place in the file: its name and the line.
        unread: Whether it could not be read.
    """

    values: Mapping[str, Any]
    lines: Mapping[str, str]
    unread: bool = False


def flags_in(path: str, names: Collection[str], mistakes: list[str]) -> ConfigFile:
    """Reads a file.

    Args:
        path: The file.
        names: All flags.
        mistakes: What is wrong is added to it: the file can't be read, or has names that are no flags.
    """
    try:
        text = read_text(path)
        content, lines = yaml.safe_load(text), _lines(text)
    except OSError as error:
        problem = f": can't be read: {error.strerror}"
    except NotTextError as error:
        problem = f": can't be read: {error}"
    except yaml.YAMLError as error:
        problem = f"{_where(error)}: can't be read as YAML; give flags as 'name: value' lines"
    else:
        problem = "" if isinstance(content, dict) else ": give flags as 'name: value' lines"
    if problem:
        mistakes.append(f"--{CONFIG}={path}{problem}")
        return ConfigFile({}, {}, unread=True)
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
    values = {name: _plain(value) for name, value in content.items() if name in known and value is not None}
    return ConfigFile(values, {name: f"{path}, line {lines[name][-1]}" for name in values if name in lines})


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
