"""The list of known mutations keeps up with the code. ``make mutants`` runs them."""

from __future__ import annotations

import pytest

from tests.mutants.copies import ROOT
from tests.mutants.known import KNOWN, Mutation


@pytest.mark.parametrize("mutation", KNOWN, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_its_file_and_names_a_test(mutation: Mutation) -> None:
    assert (ROOT / mutation.path).read_text().count(mutation.old) == 1
    path, _, test = mutation.test.partition("::")
    assert test in (ROOT / path).read_text()
