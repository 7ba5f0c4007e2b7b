"""Draws that depend on seed, purpose and step alone."""

from __future__ import annotations

import torch

from pipeline.training import batches


def test_every_combination_has_its_own_seed_and_always_the_same() -> None:
    combinations = [(s, p, t) for s in range(3) for p in range(6) for t in range(4)]
    derived = [batches.derive_seed(*combination) for combination in combinations]
    assert len(set(derived)) == len(combinations)
    assert derived == [batches.derive_seed(*combination) for combination in combinations]


def test_each_pass_takes_every_sample_once() -> None:
    drawn = batches.draw_indices(0, batches.LABELLED, 5, range(15))
    passes = [drawn[i : i + 5] for i in (0, 5, 10)]
    assert all(sorted(one) == list(range(5)) for one in passes)
    assert passes[0] != passes[1] or passes[1] != passes[2]


def test_places_do_not_depend_on_where_one_starts() -> None:
    whole = batches.draw_indices(3, batches.UNLABELLED, 7, range(20))
    assert batches.draw_indices(3, batches.UNLABELLED, 7, range(11, 16)) == whole[11:16]


def test_fewer_samples_than_places_repeat() -> None:
    assert sorted(batches.draw_indices(0, batches.LABELLED, 1, range(4))) == [0, 0, 0, 0]


def test_generators_of_equal_numbers_draw_the_same() -> None:
    one, two = (batches.generator(1, batches.NOISE, 2) for _ in range(2))
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=two))
