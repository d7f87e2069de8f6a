"""``NAME=VALUE`` items: from flags and from files of such lines, with ``${ENV}`` replaced. No message holds a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.cli.flag import Flag
from pipeline.cli.kinds.base import Named, items
from transforms.errors import ConfigError
from transforms.request_headers import TOKEN
from transforms.secret_manager import reference_problem
from transforms.text_files import NotTextError, read_text

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class NamedValues:
    """Reads the items of flags of the kind ``Named``.

    Args:
        environ: The environment.

    Attributes:
        mistakes: What was wrong, each with its cure.
        variables: Where ``${ENV}`` was replaced (``"kafka_config sasl.password"``), to the variable's name.
    """

    def __init__(self, environ: Mapping[str, str]):
        self.mistakes: list[str] = []
        self.variables: dict[str, str] = {}
        self._environ = environ

    def of_flag(self, flag: str, given: object) -> list[tuple[str, str]]:
        """Returns the pairs of a flag's items."""
        found = []
        for item in items(given):
            key, equals, value = item.partition("=")
            if equals and TOKEN.fullmatch(key.strip()):
                found.append((key.strip(), self._replaced(flag, key.strip(), value, f"--{flag} {key.strip()}")))
            else:
                self.mistakes.append(f"--{flag}: {_no_pair(item)}")
        return found

    def of_file(self, flag: str, path: str) -> list[tuple[str, str]]:
        """Returns the pairs of a file's lines, which ``--<flag>_file`` names."""
        found = []
        try:
            lines = list(_lines(path))
        except NotTextError as error:
            self.mistakes.append(f"--{flag}_file={path}: {error}")
            return []
        for number, line in lines:
            key, equals, value = line.partition("=")
            where = f"--{flag}_file={path}, line {number}"
            if equals and TOKEN.fullmatch(key.strip()):
                found.append((key.strip(), self._replaced(flag, key.strip(), value.strip(), where)))
            else:
                self.mistakes.append(f"{where}: {_no_pair(line)}")
        return found

    def _replaced(self, flag: str, key: str, value: str, where: str) -> str:
        if problem := reference_problem(value):
            self.mistakes.append(f"{where}: {problem}")

        def replace(match: re.Match[str]) -> str:
            variable = match.group(1)
            self.variables[f"{flag} {key}"] = variable
            if variable not in self._environ:
                self.mistakes.append(f"{where}: the environment variable {variable} is not set")
                return ""
            return self._environ[variable]

        found = _VARIABLE.sub(replace, value)
        if "\0" in found or not _is_utf8(found):  # C's strings end at a null character: a part of a password would be lost
            self.mistakes.append(f"{where}: the value is not UTF-8 text, or has a null character in it")
            return ""
        return found


def refuse_variables(name: str, given: object, flags: Sequence[Flag]) -> None:
    """Refuses ``${ENV}`` where it is not replaced: it would be taken as it stands, as the name of a group, say.

    Args:
        name: The flag.
        given: Its value.
        flags: The table.

    Raises:
        ConfigError: The environment's variable stands in it.
    """
    found = [match for item in items(given) for match in _VARIABLE.findall(item)]
    if found:
        where = ", ".join(f"--{row.name}" for row in flags if isinstance(row.kind, Named))
        raise ConfigError(
            [
                f"--{name}: ${{{variable}}} is not replaced here, only in {where}: write the value, or let a shell put it "
                "in (within double quotes, not single ones)"
                for variable in dict.fromkeys(found)
            ]
        )


def _no_pair(item: str) -> str:
    """What is wrong with an item. It is not shown, nor what stands for its name: either may hold a secret."""
    name, equals, _ = item.partition("=")
    if not equals:
        return "give NAME=VALUE (one without '=' came)"
    colon = ", not NAME: VALUE" if ":" in name else ""
    return f"give NAME=VALUE{colon}; what came before '=' is no name"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lines(path: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip()
        if text and not text.startswith(("#", "!")):
            yield number, text
