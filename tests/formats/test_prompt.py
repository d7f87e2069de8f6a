"""``Prompt``: what a template makes of a record, which templates are refused, and what no record can make it do."""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np
import pytest

from tests.formats.without_package import said_without
from transforms.formats.casting import FieldMismatch
from transforms.formats.prompt import Prompt, PromptError
from transforms.formats.template_sandbox import MOST_CHARACTERS, MOST_CPU_S, TemplateBudget

SECRET = "SECRET-0123456789"
RECORD: dict[str, Any] = {
    "text": "a <b> & 'c'",
    "n": 3,
    "price": 1.5,
    "yes": True,
    "nothing": None,
    "key": SECRET,
    "bytes": "ä".encode(),
    "no_text": b"\xff" + SECRET.encode(),
    "huge": 10**12,
    "order": {"items": [1, "two", None], "get": 5},
    "lines": [{"name": "ä", "price": 1}, {"name": "b", "price": 2.5}],
    "array": np.arange(2),
}


def render(text: str, record: Any = None) -> str:
    return Prompt(text).render(RECORD if record is None else record)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ text }}\n", "a <b> & 'c'"),  # no HTML escapes; no newline at the end
        ("{{ n }} {{ price }} {{ yes }}", "3 1.5 true"),
        ("{{ bytes }}", "ä"),
        ("{{ order }}", '{"items": [1, "two", null], "get": 5}'),
        ("{{ array }} {{ record.array[1] }}", "[0, 1] 1"),
        ("{{ text|tojson }} {{ bytes|tojson }}", "\"a <b> & 'c'\" \"ä\""),
        ("{{ lines[0]|tojson(indent=1) }}", '{\n "name": "ä",\n "price": 1\n}'),
        ("{{ order.items|length }} {{ order.get }}", "3 5"),  # fields, not the methods of these names
        ("{{ order['items'][1] }} {{ record.order.items[0] }}", "two 1"),
        ("{% for name, value in record.items() if name == 'n' %}{{ name }}={{ value }}{% endfor %}", "n=3"),
        ("{% for one in lines %}\n  {% if one.price > 1 %}\n{{ loop.index }}/{{ loop.length }}\n  {% endif %}\n{% endfor %}",
         "2/2\n"),
        ("{{ lines|map(attribute='price')|join('; ') }}", "1; 2.5"),
        ("{{ lines|join(', ', attribute='name')|upper }}", "Ä, B"),
        ("{{ lines|map(attribute='name') }}", '["ä", "b"]'),
        ("{{ nothing|default('none', true) }} {{ missing|default('x') }}", "none x"),
        ("{% if missing is defined %}{{ missing }}{% else %}{{ n }}{% endif %}", "3"),
        ("{{ n ~ '/' ~ yes ~ order.items }}", '3/true[1, "two", null]'),
        ("{{ '%.2f'|format(price) }} {{ '%03d' % n }} {{ n * 2 }} {{ 'ab' * 2 }} {{ n ** 2 }}", "1.50 003 6 abab 9"),
        ("{{ (text|replace(' ', '_')).upper() }}", "A_<B>_&_'C'"),
        ("{% macro line(x) %}- {{ x.name }}\n{% endmacro %}{{ line(lines[1]) }}", "- b\n"),
        ("{{ 'x\ny'|indent(2) }}{{ n }}", "x\n  y3"),
        ("{{ '%(text)s' % record }} {{ '%d-%d' % (n, 4) }} {{ '%(a)s'|format(a=n) }}", "a <b> & 'c' 3-4 3"),
        ("{{ price|round(1) }} {{ lines|sum(attribute='price') }} {{ [n, 1]|sum }}", "1.5 3.5 4"),
        ("{% set all = namespace(sum=0) %}{% for one in lines %}{% set all.sum = all.sum + one.price %}{% endfor %}"
         "{{ all.sum }}", "3.5"),
    ],
)  # fmt: skip
def test_what_is_made_of_a_record(template: str, text: str) -> None:
    assert render(template) == text


def test_a_record_that_is_no_object() -> None:
    assert render("<{{ record }}>", "text") == "<text>"
    assert render("{{ record[1] }}", [1, 2]) == "2"


def test_a_field_named_record_is_in_the_record() -> None:
    assert render("{{ record.record }}", {"record": 1}) == "1"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("one\ntwo {{ missing }}", "line 2: missing: missing in the record; |default("),
        ("{{ order.missing }}", "line 1: missing: missing in the record"),
        ("{{ missing.inside }}", "missing: missing in the record"),
        ("{% if missing %}{% endif %}", "missing: missing in the record"),
        ("{% for one in missing %}{% endfor %}", "missing: missing in the record"),
        ("{{ missing|tojson }}", "missing: missing in the record"),
        ("{{ [missing]|tojson }}", "missing: missing in the record"),
        ("{{ lines|map(attribute='nam')|join }}", "nam: missing in the record"),
        ("{{ lines[7] }}", "a list has no [7]"),
        ("{{ lines[n] }}", "a list has fewer values than the template asks for"),
        ("{{ [][:n]|first }}", "No first item"),
        ("{{ nothing }}", 'a value is null; give one in its place: |default("none", true)'),
        ("{{ nothing|upper }}", "a value is null"),
        ("{{ n ~ nothing }}", "a value is null"),
        ("{{ no_text }}", "a value is no text: 18 bytes that are no UTF-8"),
        ("\n\n{{ key + 1 }}", "line 3: can't be computed of the record's values (TypeError)"),
        ("{{ n / 0 }}", "(ZeroDivisionError)"),
        ("{{ text.upper }}", "a function or a loop"),
        ("{{ range }}{{ n }}", "a function or a loop"),
    ],
)
def test_a_record_that_does_not_fit(template: str, says: str) -> None:
    with pytest.raises(FieldMismatch) as caught:
        render(template)
    assert str(caught.value).startswith("--prompt, line ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ order[key] }}", "{{ record[key] }}", "{{ record[key].x }}", "{{ lines[key] }}", "{{ text[key] }}",
        "{{ lines|map(attribute=key)|list }}", "{{ lines|sort(attribute=key) }}", "{{ record|items|groupby(key) }}",
        "{{ [key, n]|sort }}", "{{ [key]|sum }}", "{{ key|tojson(indent=key) }}", "{{ range(key) }}", "{{ no_text|tojson }}",
        "{{ key % n }}", "{{ key|format(n) }}", "{{ key() }}", "{{ namespace(key) }}",
        "{{ n|round(method=key) }}", "{{ n is divisibleby(key) }}", "{{ lines|map(key)|list }}",
        "{{ lines|select(key)|list }}", "{{ key.upper(key) }}", "{{ {}[key] }}", "{{ lines|dictsort(by=key) }}",
        "{{ lines.index(key) }}", "{{ key|trim(n) }}", "{{ key.index(key, 1) }}",
        "{% set x = namespace(a=1) %}{{ x[key] }}", "{% for i in lines %}{{ loop[key] }}{% endfor %}",
        "{% macro f() %}{% endmacro %}{{ f(**{key: 1}) }}", "{% macro f() %}{% endmacro %}{{ f(key) }}",
        "{{ self[key] }}{{ n }}",
    ],
)  # fmt: skip
def test_no_message_has_a_value_of_the_record(template: str) -> None:
    with pytest.raises(FieldMismatch) as caught:
        render(template)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_nor_the_name_of_what_a_value_asks_for() -> None:
    with pytest.raises(FieldMismatch) as caught:
        render("{{ record.text[record.which] }}", {"text": "a", "which": "__class__"})
    assert str(caught.value) == "--prompt, line 1: a prompt may not use this"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for i in range(huge) %}{% endfor %}", "(OverflowError)"),
        ("{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}{{ n }}", "more than 100,000 times"),
        ("{% for i in lines recursive %}{{ loop(lines) }}{% endfor %}", "calls itself without end"),
        ("{% for i in [1] recursive %}{% if loop.depth < 3 %}{{ loop(range(90000)) }}{% endif %}{% endfor %}{{ n }}",
         "more than 100,000 times"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}{{ n }}", "calls itself without end"),
        ("{% macro f(x) %}{% if x %}{{ f(x - 1) }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(40) }}{{ n }}",
         "more than 100,000 times"),
        ("{{ text * huge }}", "longer than 1,000,000 characters"),
        ("{{ huge * text }}", "longer than 1,000,000 characters"),
        ("{{ [n] * huge }}", "longer than 1,000,000 characters"),
        ("{{ huge ** huge }}", "a number becomes too large"),
        ("{{ 10 ** 999999999 }}{{ n }}", "a number becomes too large"),  # not when it is compiled, either
        ("{% set x = namespace(v=huge) %}{% for i in range(30) %}{% set x.v = x.v * x.v %}{% endfor %}{{ n }}",
         "a number becomes too large"),
        ("{{ text|indent(huge) }}", "longer than 1,000,000 characters"),
        ("{{ ('a' * n)|replace('a', 'x' * 400000) }}", "longer than 1,000,000 characters"),
        ("{{ range(1000)|join('x' * 2000) }}{{ n }}", "longer than 1,000,000 characters"),
        ("{{ '%*d' % (huge, 1) }}", "a width"),
        ("{{ '%999999999d'|format(n) }}", "a width"),
        ("{{ '%.999999999f'|format(n) }}", "a width"),
        ("{{ n|round(huge, 'ceil') }}", "a precision of -99 to 99"),
        ("{{ [[n]]|sum(start=[]) }}", "(TypeError)"),
        ("{{ n|tojson(indent=huge) }}", "an indent of 0 to 8"),
        ("{{ text.center(huge) }}", "center: a prompt may not use this"),
        ("{{ text.format(n) }}", "format: a prompt may not use this"),
        ("{{ text.__class__.__mro__ }}", "__class__: a prompt may not use this"),
        ("{{ text['__class__'] }}", "__class__: a prompt may not use this"),
        ("{{ lines.append(1) }}", "append: a prompt may not use this"),
        ("{{ record.pop('n') }}", "pop: a prompt may not use this"),
        ("{% for i in range(600) %}{{ 'x' * 2000 }}{% endfor %}{{ n }}", "longer than 1,000,000 characters"),
        ("{{ lipsum() }}", "lipsum: missing in the record"),
    ],
)  # fmt: skip
def test_what_no_record_can_make_it_do(template: str, says: str) -> None:
    began = time.process_time()
    with pytest.raises(FieldMismatch, match=r"^--prompt, line 1: ") as caught:
        render(template)
    assert says in str(caught.value)
    assert time.process_time() - began < 5


def test_the_longest_prompt() -> None:
    assert len(render("{{ record }}", "x" * MOST_CHARACTERS)) == MOST_CHARACTERS
    with pytest.raises(FieldMismatch, match="longer than 1,000,000 characters"):
        render("{{ record }}", "x" * (MOST_CHARACTERS + 1))


def test_the_count_of_steps_is_a_records() -> None:
    prompt = Prompt("{% for i in range(60000) %}{% endfor %}{{ n }}")
    assert [prompt.render(RECORD) for _ in range(3)] == ["3"] * 3


def test_the_processors_time_is_bounded() -> None:
    now = [7.0]
    budget = TemplateBudget(lambda: now[0])
    for _ in range(1000):
        budget.step()
    now[0] += MOST_CPU_S + 0.1
    with pytest.raises(FieldMismatch, match="longer than 5 s"):
        any(budget.step() for _ in range(64))  # type: ignore[func-returns-value]  # each gives None, and any goes on


def test_a_value_that_is_nested_too_deeply() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(FieldMismatch, match="nested too deeply"):
        render("{{ deep }}", {"deep": deep})
    while deep:  # freed level by level
        deep = deep[0]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("", "is empty; write {{ field }}"),
        (" \n", "is empty"),
        ("Sum up {text}.", "names no field of the record; write {{ field }}"),
        ("one\n{% if %}", "line 2: Expected an expression"),
        ("one\n\n{{ text", "line 3: unexpected end of template"),
        ("{% for x in lines %}", "line 1: Unexpected end of template"),
        ("{{ text|uper }}", "line 1: No filter named 'uper'.; there are abs, "),
        ("{{ text|random }}", "No filter named 'random'"),
        ("\n{% include 'other' %}{{ n }}", "line 2: a prompt is one file"),
        ("{% import 'other' as o %}{{ n }}", "line 1: a prompt is one file"),
        ("{% from 'other' import o %}{{ n }}", "line 1: a prompt is one file"),
        ("{% extends 'other' %}{{ n }}", "line 1: a prompt is one file"),
        ("{{ " + "(" * 5000 + "n" + ")" * 5000 + " }}", "nested too deeply"),
        ("{% if n %}" * 150 + "{% endif %}" * 150, "nested too deeply"),
    ],
)
def test_a_template_that_is_refused(template: str, says: str) -> None:
    with pytest.raises(PromptError) as caught:
        Prompt(template)
    assert says in str(caught.value)


def test_a_prompt_travels_to_workers() -> None:
    assert pickle.loads(pickle.dumps(Prompt("{{ n }}"))).render(RECORD) == "3"


def test_the_missing_package_is_named_with_what_to_install() -> None:
    made = 'Prompt("{{ x }}")'
    said = said_without("jinja2", "transforms.formats.prompt", made)
    needs = "--prompt: needs a package that is not here (jinja2)"
    assert said == f"{needs}: pip install 'kafka-model-scoring[prompt]'\n"
