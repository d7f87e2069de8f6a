"""Every command in a document is run as printed, is run by a test that the document names, or says why it is not run.

A line of Markdown before the block says which: ``<!-- run by: tests/…py::test_… -->``, ``<!-- not run: why -->``. A block
without such a line is run by ``test_runs.py``. What is here reads the documents only, and starts nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from pipeline.cli.options import parse
from pipeline.console import COMMANDS
from pipeline.dead_letter_tools.flags import parse_replay, parse_show
from pipeline.embedded.options import parse as parse_embedded
from tests.docs.pages import FURTHER_TUTORIALS, PAGES, README, ROOT, TUTORIAL, Block, command_blocks
from transforms.errors import ConfigError

ALL = [block for page in PAGES for block in command_blocks(page)]


@pytest.mark.parametrize("block", ALL, ids=str)
def test_a_block_says_how_it_is_run(block: Block) -> None:
    assert block.commands(), f"{block} holds no command: lines of commands begin with '$ '"
    if block.kind == "run by":
        path, _, name = block.mark.partition("::")
        assert re.search(rf"^\s*(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), block.mark
    elif block.kind != "not run":
        assert block.page in (README, TUTORIAL, *FURTHER_TUTORIALS), (
            f"{block}: no test runs this; say which does, or why none does"
        )


def arguments(module: str) -> Iterator[tuple[Block, list[str]]]:
    """The arguments of every ``python -m MODULE`` in the documents, and of the console script's command of that name."""
    for block in ALL:
        for command in block.commands():
            for part in command.replace("\\\n", " ").split("&&"):
                words = shlex.split(part)
                if words[:1] == ["kafka-model-scoring"]:
                    named = words[1:2] if words[1:2] and words[1] in COMMANDS else []
                    words = ["python", "-m", ".".join(["pipeline", *named]), *words[1 + len(named) :]]
                if words[:3] == ["python", "-m", module]:
                    yield block, words[3:]


def test_flags_in_the_documents_are_flags() -> None:
    """As the command line checks them, before anything is read or asked."""
    found = [*arguments("pipeline"), *arguments("pipeline.check")]
    assert len(found) > 15
    for block, words in found:
        of_the_check, files = (
            ("--sample", "--guess_signature="),
            (
                *("--config=", "--preprocess=", "--postprocess=", "--signature=", "--request="),
                *("--prompt=", "--system_prompt=", "--answer_schema="),
            ),
        )
        elsewhere = (*of_the_check, *files)  # files of the reader
        given = [word for word in words if not word.startswith(elsewhere)]
        if not any(word.startswith("--config=") for word in words):
            given = [word.replace("${KAFKA_PASSWORD}", "secret") for word in given]
            try:
                parse(given)
            except ConfigError as error:
                pytest.fail(f"{block}: {error}")


def test_flags_of_the_dead_letters_commands_are_flags() -> None:
    for module, parse_words in (("pipeline.dead_letters", parse_show), ("pipeline.replay", parse_replay)):
        found = list(arguments(module))
        assert found
        for block, words in found:
            try:
                parse_words(words, {})
            except ConfigError as error:
                pytest.fail(f"{block}: {error}")


def test_flags_of_the_embedded_parts_are_flags() -> None:
    """Folders of models are the reader's, so that they are not there is no mistake of the document."""
    found = list(arguments("pipeline.embedded"))
    assert len(found) > 1
    for block, words in found:
        mistakes: tuple[str, ...] = ()
        try:
            parse_embedded(words)
        except ConfigError as error:
            mistakes = error.mistakes
        assert [mistake for mistake in mistakes if not mistake.startswith("--model=")] == [], block
