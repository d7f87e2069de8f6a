"""The fuzzer's corpus and former findings, run as ordinary tests; and some inputs of each target by chance."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from tests.fuzz.oracle import FindingError, allowed, must, weight
from tests.fuzz.source import Source
from tests.fuzz.table import CORPUS, FINDINGS, TARGETS, kept_inputs

_BY_CHANCE = 50
_MOST_BYTES = 1 << 20
_MOST_MEMORY = 64 << 20  # of the 2 GB at which libFuzzer calls an input a finding


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_that_is_kept(target: str) -> None:
    """Findings first: each broke a promise once."""
    for path in (*kept_inputs(FINDINGS, target), *kept_inputs(CORPUS, target)):
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path} raised {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("target", TARGETS)
def test_an_input_that_filled_the_memory(target: str) -> None:
    """What the reader of it or the generator from it allocates is bounded."""
    for path in kept_inputs(FINDINGS, target):
        if path.name.startswith("oom-"):
            tracemalloc.start()
            try:
                TARGETS[target](path.read_bytes())
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < _MOST_MEMORY, f"{path.name}: {peak:,} bytes"


@pytest.mark.parametrize("target", TARGETS)
def test_some_inputs_by_chance(target: str) -> None:
    """The same ones each time: what the fuzzer finds is kept in files."""
    chance = random.Random(target)
    for _ in range(_BY_CHANCE):
        TARGETS[target](chance.randbytes(chance.randrange(200)))


def test_every_target_has_a_corpus_and_all_of_it_is_small() -> None:
    assert [name for name in TARGETS if not kept_inputs(CORPUS, name)] == []
    names = {path.name for folder in (CORPUS, FINDINGS) if folder.is_dir() for path in folder.iterdir()}
    assert names <= set(TARGETS), "a folder of a target that is no more"
    assert (
        sum(path.stat().st_size for path in FINDINGS.parent.rglob("*") if path.suffix != ".py" and path.is_file())
        < _MOST_BYTES
    )


def test_the_oracle_sees_what_is_wrong() -> None:
    with pytest.raises(ZeroDivisionError), allowed(ValueError):
        print(1 / 0)
    with pytest.raises(FindingError):
        must(False, "no")
    assert weight([b"x" * 1000, {"a": [1.0] * 100}]) > 1800


def test_a_source_without_bytes_gives_the_first_choice() -> None:
    source = Source(b"")
    assert (source.pick("ab"), source.byte(), source.take(5), source.chance(2), source.mutated(b"x")) == (
        "a",
        0,
        b"",
        False,
        b"x",
    )
