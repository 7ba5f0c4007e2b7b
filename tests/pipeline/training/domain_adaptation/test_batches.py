"""`adapt` in what a step is given: shares of both streams, and whose images are styled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline import layout
from pipeline.config.params import AdaptParams, Params
from pipeline.records.manifest import Sample, read_manifest
from pipeline.training.batches import ORDER_UNLABELLED, Batches, draw_indices
from pipeline.training.class_balance import rare_classes
from pipeline.training.domain_adaptation.enabled import adaptation_in_force, enabled
from tests.pipeline.training.domain_adaptation.conftest import ALL, OFF
from tests.pipeline.training.whole_set import batches_of


def new_batches(root: Path, params: Params, **changes: Any) -> Batches:
    adaptation = adaptation_in_force(params, read_manifest(root / layout.MANIFEST))
    params = enabled(params, adaptation, method_name=params.method.name, warm=False)
    return batches_of(root, params, adaptation=adaptation, **changes)


def unlabelled_domains(batches: Batches, num_steps: int) -> list[str]:
    seen = [batches.at(step).unlabelled for step in range(num_steps)]
    places = [place for one in seen if one is not None for place in one.index_B.tolist()]
    return [batches.unlabelled[place].domain for place in places]


@pytest.mark.parametrize(("share", "expected"), [(1.0, 12), (0.0, 0), (0.5, 6)])
def test_the_unlabelled_stream_has_its_share_of_the_current_domain(
    shifted: Path, dusk_params, share: float, expected: int
) -> None:
    batches = new_batches(shifted, dusk_params({"target_share": share}))
    assert unlabelled_domains(batches, 4).count("dusk") == expected


def test_without_a_share_the_stream_is_in_shuffled_passes(shifted: Path, dusk_params) -> None:
    batches = new_batches(shifted, dusk_params({"fourier_beta": 0.1}))
    seen = [batches.at(step).unlabelled for step in range(5)]
    places = [place for one in seen if one is not None for place in one.index_B.tolist()]
    assert places == draw_indices(0, ORDER_UNLABELLED, 5, range(15))


@pytest.mark.parametrize("rare", [False, True])
def test_a_source_weight_of_0_leaves_the_current_domains_labels(
    shifted: Path, dusk_params, rare: bool
) -> None:
    params = dusk_params({"source_weight": 0.0}, train={"rare_class_sampling": rare})
    batches = new_batches(shifted, params)
    rule = rare_classes(batches.store, batches.labelled, batches.params, batches.adaptation)
    batches = new_batches(shifted, params, rare_classes=rule)
    drawn = {batches.labelled[p].domain for s in range(6) for p in batches._labelled_places(s)}
    assert drawn == {"dusk"}


def test_only_other_domains_images_are_styled(shifted: Path, dusk_params) -> None:
    plain = new_batches(shifted, dusk_params())
    styled = new_batches(shifted, dusk_params({"fourier_beta": 0.1}))
    changed = set()
    for step in range(12):
        before, after = plain.at(step), styled.at(step)
        assert torch.equal(before.masks_BHW, after.masks_BHW)
        for at, place in enumerate(plain._labelled_places(step)):
            same = torch.equal(before.images_BCHW[at], after.images_BCHW[at])
            changed.add((plain.labelled[place].domain, same))
    assert changed == {("day", True), ("day", False), ("dusk", True)}


def test_left_out_images_lend_no_style(shifted: Path, dusk_params) -> None:
    samples = read_manifest(shifted / layout.MANIFEST)
    junk = next(s for s in samples if s.domain == "dusk" and not s.mask)
    marked = [Sample(**{**vars(s), "left_out": "blank"}) if s is junk else s for s in samples]
    params = dusk_params(ALL)
    found = adaptation_in_force(params, marked)
    assert len(found.target) == 3
    assert junk.sample_id not in {s.sample_id for s in found.target}
    params = enabled(params, found, method_name="fixmatch", warm=False)
    assert params.adapt == AdaptParams(**{**OFF, **ALL})
