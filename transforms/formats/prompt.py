"""``--prompt``: the text that a model gets, made of a record by a Jinja2 template.

A template sees the fields of a record by their names, and the whole as ``record``; a field named ``record`` is
``record.record``. What it writes with ``{{ … }}`` is text as it is, and of all else JSON. A field that is missing or null is
the record's dead letter, unless the template puts something in its place. No message has a value of the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transforms.errors import is_sick
from transforms.formats.casting import FieldMismatch
from transforms.formats.extras import missing

if TYPE_CHECKING:
    from jinja2 import Template

HOW = "write {{ field }} where a field of the record goes"


class PromptError(ValueError):
    """A template can't be used. The message says in which line, and the cure."""


class Prompt:
    """A template, compiled. May be pickled: its text travels, and is compiled again.

    Args:
        text: The template.

    Raises:
        PromptError: It can't be used.
        ConfigError: Jinja2 is not installed.
    """

    def __init__(self, text: str):
        self._text = text
        self._template = _compiled(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return Prompt, (self._text,)

    def render(self, document: Any) -> str:
        """Returns the text for a record.

        Args:
            document: The record's fields; or its value, if it has none.

        Raises:
            FieldMismatch: A field is missing, or does not fit what the template does with it; or the text becomes too long.
        """
        from transforms.formats.template_sandbox import MOST_CHARACTERS, values_of

        pieces, length = [], 0
        try:
            for piece in self._template.root_render_func(self._template.new_context(values_of(document))):
                pieces.append(piece)
                length += len(piece)
                if length > MOST_CHARACTERS:
                    raise FieldMismatch(f"the text becomes longer than {MOST_CHARACTERS:,} characters")
        except Exception as error:  # whatever an expression raises: the record does not fit the template
            if is_sick(error):
                raise
            raise FieldMismatch(f"--prompt, line {self._line(error)}: {_reason(error)}") from None
        return "".join(pieces)

    def _line(self, error: Exception) -> int:
        """Returns the template's line at which an exception was raised, as Jinja2 finds it for its own tracebacks."""
        at, found = error.__traceback__, 1
        while at is not None:
            if at.tb_frame.f_globals.get("__jinja_template__") is self._template:
                found = self._template.get_corresponding_lineno(at.tb_lineno)
            at = at.tb_next
        return found


def _reason(error: Exception) -> str:
    from jinja2.exceptions import UndefinedError

    if isinstance(error, FieldMismatch | UndefinedError):
        return str(error)  # written by us
    if isinstance(error, RecursionError):
        return "a value is nested too deeply, or the template calls itself without end"
    # The text of any other may quote a value.
    return f"can't be computed of the record's values ({type(error).__name__})"


def _compiled(text: str) -> Template:
    try:
        from jinja2 import Template, meta, nodes
        from jinja2.exceptions import TemplateSyntaxError

        from transforms.formats.template_sandbox import Bounded, Environment
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("jinja2", "markupsafe"):
            raise
        raise missing("prompt", str(error.name), "prompt") from error
    if not text.strip():
        raise PromptError(f"is empty; {HOW}")
    environment = Environment()
    try:
        tree = environment.parse(text)
        for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            raise PromptError(f"line {node.lineno}: a prompt is one file; put the other's text in place of this")
        if not meta.find_undeclared_variables(tree) - set(environment.globals):
            raise PromptError(f"names no field of the record; {HOW}")
        environment = Environment(_names(tree))
        code = environment.compile(Bounded().visit(tree), filename="<prompt>")
        return Template.from_code(environment, code, environment.globals)
    except TemplateSyntaxError as error:
        cure = f"; there are {', '.join(_filters())}" if "filter named" in (error.message or "") else ""
        raise PromptError(f"line {error.lineno}: {error.message}{cure}") from error
    except (RecursionError, SyntaxError) as error:  # of Python's compiler, which compiles what Jinja2 has made of it
        raise PromptError("is nested too deeply; put less into one expression or loop") from error


def _filters() -> list[str]:
    from transforms.formats.template_sandbox import Environment

    return sorted(name for name in Environment().filters if name.isidentifier())


def _names(tree: Any) -> frozenset[object]:
    """Returns what a template names: its variables, fields and constants, such as ``"a.b"`` of ``map(attribute="a.b")``."""
    from jinja2 import nodes

    found: set[object] = set()
    for node in tree.find_all((nodes.Name, nodes.Getattr, nodes.Const)):
        if isinstance(node, nodes.Name):
            found.add(node.name)
        elif isinstance(node, nodes.Getattr):
            found.add(node.attr)
        elif isinstance(node.value, str):
            found |= {node.value, *node.value.split(".")}
        elif isinstance(node.value, int):
            found.add(node.value)
    return frozenset(found)
