"""What may be committed of the bundles that are with the runner."""

from __future__ import annotations

import itertools

import pytest

from transforms.kafka.native.finalised import OutstandingBundle, OutstandingBundles

A, B = ("in", 0), ("in", 1)


def three() -> tuple[OutstandingBundles, list[OutstandingBundle]]:
    """Three bundles, read one after the other."""
    outstanding = OutstandingBundles()
    bundles = [
        OutstandingBundle({A: 10}, 10, 1.0),
        OutstandingBundle({A: 20, B: 5}, 15, 2.0),
        OutstandingBundle({B: 7}, 2, 3.0),
    ]
    for bundle in bundles:
        outstanding.add(bundle)
    return outstanding, bundles


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_in_whatever_order_they_become_final_no_commit_passes_one_that_is_not(order: tuple[int, ...]) -> None:
    outstanding, bundles = three()
    committed: dict[tuple[str, int], int] = {}
    for index in order:
        bundles[index].finalise()
        committed.update(outstanding.take_final())
        final = list(itertools.takewhile(lambda it: it.final, bundles))
        expected: dict[tuple[str, int], int] = {}
        for bundle in final:
            expected.update(bundle.next)
        assert committed == expected
    assert committed == {A: 20, B: 7}
    assert not outstanding


def test_each_is_taken_once() -> None:
    outstanding, bundles = three()
    bundles[0].finalise()
    assert outstanding.take_final() == {A: 10}
    bundles[0].finalise()  # a runner may call twice
    assert outstanding.take_final() == {}
    assert len(outstanding) == 2


def test_what_was_dropped_is_not_committed_when_it_becomes_final_late() -> None:
    outstanding, bundles = three()
    assert outstanding.drop_all() == 27
    for bundle in bundles:
        bundle.finalise()
    outstanding.add(OutstandingBundle({A: 3}, 3, 4.0))
    assert outstanding.take_final() == {}


def test_a_partition_that_is_forgotten_is_not_committed() -> None:
    outstanding, bundles = three()
    outstanding.forget([A])
    for bundle in bundles:
        bundle.finalise()
    assert outstanding.take_final() == {B: 7}


def test_the_oldest_that_is_not_final_is_waited_for() -> None:
    outstanding, bundles = three()
    bundles[1].finalise()
    assert outstanding.waiting_since == 1.0
    bundles[0].finalise()
    assert outstanding.waiting_since == 3.0
    outstanding.take_final()
    bundles[2].finalise()
    assert outstanding.waiting_since is None


def test_the_position_is_that_of_the_last_bundle() -> None:
    outstanding, _ = three()
    assert [outstanding.position(it) for it in (A, B, ("in", 2))] == [20, 7, -1]
