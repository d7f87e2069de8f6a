"""A flag is one row: added to a copy of the table, it is known everywhere, with nothing else edited."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from pipeline.cli import options
from pipeline.cli.config import BY_NAME, FLAGS, Config
from pipeline.cli.flag import FlagRefusal, Where, flag, flags_of
from pipeline.cli.kinds.base import Named, Switch
from pipeline.cli.kinds.plain import choice
from pipeline.cli.reference import reference, table
from pipeline.runners.dataflow.flex_template import metadata
from tests.pipeline.cli.parsing import OWN
from transforms.errors import ConfigError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Config):
    """The table with one row more."""

    colour: str = flag(
        "Model",
        choice("red", "green"),
        "how the answer is painted",
        default="red",
        refused=(FlagRefusal(Where.NOT_DIRECT, "{runner} is colour-blind; leave it out"),),
    )


ROWS = flags_of(Copy)


def parse(*argv: str) -> Copy:
    return options.parse_as(Copy, (*OWN, *argv), {}, "program", "about")


def mistakes(*argv: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(*argv)
    return caught.value.mistakes


def test_it_is_parsed_and_has_its_default() -> None:
    assert parse().colour == "red"
    assert parse("--colour=green").colour == "green"
    assert parse("--colour", "green", "--workers=2").workers == 2, "and so are all others"


def test_it_is_checked_with_all_others() -> None:
    found = mistakes("--colour=gren", "--workers=0")
    assert "--colour=gren: use red or green; did you mean green?" in found
    assert len(found) == 2
    assert mistakes("--colour") == ("--colour: takes a value, as in --colour=VALUE",)
    assert mistakes("--color=red") == ("--color: no such flag; did you mean --colour?",)


def test_it_is_refused_where_its_row_says() -> None:
    prism = "--runner=PrismRunner"
    assert mistakes(prism, "--colour=green") == ("--colour=green: PrismRunner is colour-blind; leave it out",)
    assert parse(prism, "--colour=red").colour == "red", "which is what it is anyway"


def test_it_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("colour: green\n")
    assert parse(f"--config={path}").colour == "green"
    path.write_text("color: green\n")
    assert "color: no such flag; did you mean colour?" in mistakes(f"--config={path}")[0]


def test_it_is_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    assert re.search(r"--colour red\|green\s+how the answer is painted\s+\(default: red\)", capsys.readouterr().out)


def test_it_is_in_the_reference() -> None:
    row = "| `--colour` `red`, `green` | `red` | how the answer is painted |\n"
    assert row in table(ROWS)
    text = reference(ROWS)
    assert row in text[text.index("## Model") : text.index("## Requests")]
    assert "- `--colour` is refused on other runners than the DirectRunner: the runner is colour-blind; leave it out" in text


def test_it_is_a_parameter_of_the_flex_template() -> None:
    [parameter] = [found for found in metadata(ROWS)["parameters"] if found["name"] == "colour"]
    assert parameter == {
        "name": "colour",
        "label": "Colour",
        "helpText": "How the answer is painted",
        "isOptional": True,
        "regexes": ["^(red|green)$"],
        "paramType": "ENUM",
        "groupName": "Model",
        "enumOptions": [{"value": "red", "label": "red"}, {"value": "green", "label": "green"}],
        "defaultValue": "red",
    }


def test_the_table_itself_is_not_changed_by_a_copy() -> None:
    assert "colour" not in BY_NAME
    assert "colour" not in json.dumps(metadata())
    with pytest.raises(ConfigError, match="--colour: no such flag"):
        options.parse([*OWN, "--colour=red"], {})


def test_every_field_of_the_config_is_a_flag_but_beams_arguments() -> None:
    assert {row.field for row in FLAGS} == {field.name for field in dataclasses.fields(Config)} - {"beam_args"}
    assert len(BY_NAME) == len(FLAGS), "no two have one name"


def test_secrets_are_left_out_of_the_repr() -> None:
    shown = {field.name: field.repr for field in dataclasses.fields(Config)}
    for row in FLAGS:
        assert shown[row.field] is not row.secret
        assert row.secret or not isinstance(row.kind, Named), f"--{row.name}: NAME=VALUE may hold a password"


def test_what_a_row_refers_to_is_there() -> None:
    for row in FLAGS:
        assert not row.lines or row.lines == f"{row.name}_file", "which messages say"
        assert not row.lines or row.lines in BY_NAME
        assert row.default is None or not isinstance(row.kind, Switch), "a switch is off unless given"


def test_a_default_is_a_good_value() -> None:
    """By the flag's own check, and by the pattern that Dataflow gets, unless an embedded part is meant."""
    for row in FLAGS:
        if row.default is not None:
            assert row.unset == row.kind.read(row.name, row.default)
            assert row.default == "embedded" or re.fullmatch(row.kind.pattern, row.default), row.name
