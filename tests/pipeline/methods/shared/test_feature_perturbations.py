"""Feature perturbations against their formulas in plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS, Scene

BATCH, NUM_CLASSES, CHANNELS, HEIGHT, WIDTH = 3, 5, 4, 8, 12


def scene_of(classes_BHW: Tensor) -> Scene:
    probs_BKHW = torch.nn.functional.one_hot(classes_BHW, NUM_CLASSES).permute(0, 3, 1, 2).float()
    return Scene(probs_BKHW, lambda features: features[-1][:, :NUM_CLASSES])


def features_and_classes(seed: int = 0) -> tuple[list[Tensor], Tensor]:
    """The image, a map at full size and one at half; classes in blocks of 2x2; one image of one."""
    torch.manual_seed(seed)
    classes_BHW = torch.randint(NUM_CLASSES, (BATCH, HEIGHT // 2, WIDTH // 2))
    classes_BHW = classes_BHW.repeat_interleave(2, 1).repeat_interleave(2, 2)
    classes_BHW[2] = 3
    image_BCHW = torch.rand(BATCH, 3, HEIGHT, WIDTH)
    maps = [torch.rand(BATCH, CHANNELS, HEIGHT // n, WIDTH // n) + 0.1 for n in (1, 2)]
    return [image_BCHW, *maps], classes_BHW


@pytest.mark.parametrize("name", FEATURE_PERTURBATIONS)
def test_every_map_changes_but_not_the_image(name: str) -> None:
    features, classes_BHW = features_and_classes()
    before = [values.clone() for values in features]
    perturbed = FEATURE_PERTURBATIONS[name](features, scene_of(classes_BHW))
    assert all(torch.equal(values, old) for values, old in zip(features, before, strict=True))
    assert torch.equal(perturbed[0], before[0])
    assert [values.shape for values in perturbed] == [values.shape for values in before]
    changed = [not torch.equal(*pair) for pair in zip(perturbed[1:], before[1:], strict=True)]
    # The decoder of this scene looks at the last map alone, so nothing else is worth moving.
    assert changed == ([False, True] if name == "vat" else [True, True])


def test_dropout_drops_half_of_the_channels_and_doubles_the_rest() -> None:
    torch.manual_seed(0)
    ones = torch.ones(50, 20, 2, 2)
    dropped = FEATURE_PERTURBATIONS["dropout"]([ones, ones], scene_of(torch.zeros(1, 1, 1).long()))
    channels = dropped[1].flatten(2)
    assert (channels == channels[..., :1]).all()
    assert set(channels.unique().tolist()) == {0.0, 2.0}
    assert channels.mean().item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_feature_drop_drops_the_most_active_positions(seed: int) -> None:
    features, classes_BHW = features_and_classes()
    torch.manual_seed(seed)
    gamma = torch.empty(()).uniform_(0.7, 0.9).item()
    torch.manual_seed(seed)
    dropped = FEATURE_PERTURBATIONS["feature_drop"](features, scene_of(classes_BHW))
    for own, new in zip(features[1:], dropped[1:], strict=True):
        for b in range(BATCH):
            places = [(y, x) for y in range(own.shape[2]) for x in range(own.shape[3])]
            activity = {(y, x): sum(own[b, :, y, x].tolist()) / CHANNELS for y, x in places}
            limit = gamma * max(activity.values())
            for y, x in places:
                expected = own[b, :, y, x] * (activity[y, x] < limit)
                assert torch.equal(new[b, :, y, x], expected)


def test_feature_noise_is_in_proportion_and_the_same_for_all_images() -> None:
    features, classes_BHW = features_and_classes()
    noisy = FEATURE_PERTURBATIONS["feature_noise"](features, scene_of(classes_BHW))
    for own, new in zip(features[1:], noisy[1:], strict=True):
        noise = new / own - 1
        assert torch.allclose(noise[0], noise[1], atol=1e-5)
        assert -0.3001 < noise.min() < -0.25
        assert 0.25 < noise.max() < 0.3001
        assert noise[0].unique().numel() > 0.9 * noise[0].numel()


@pytest.mark.parametrize("seed", range(4))
def test_masks_keep_half_of_the_classes_and_the_other_half(seed: int) -> None:
    features, classes_BHW = features_and_classes()
    kept = {}
    for name in ("context_mask", "object_mask"):
        torch.manual_seed(seed)
        kept[name] = FEATURE_PERTURBATIONS[name](features, scene_of(classes_BHW))
    for place, scale in ((1, 1), (2, 2)):
        objects, context = kept["context_mask"][place], kept["object_mask"][place]
        for b in range(2):
            sides: tuple[set[int], set[int]] = (set(), set())
            for y in range(objects.shape[2]):
                for x in range(objects.shape[3]):
                    both = (objects[b, :, y, x], context[b, :, y, x])
                    side = int(both[0].eq(0).all())  # 0: an object
                    assert torch.equal(both[side], features[place][b, :, y, x])
                    assert both[1 - side].eq(0).all()
                    sides[side].add(int(classes_BHW[b, y * scale, x * scale]))
            assert len(sides[0]) == len(classes_BHW[b].unique()) // 2
            assert not sides[0] & sides[1]
        assert torch.equal(objects[2], features[place][2])  # one class: no object, no context
        assert torch.equal(context[2], features[place][2])


def test_guided_cutout_erases_a_box_in_an_objects_bounding_box() -> None:
    classes_BHW = torch.zeros(1, 20, 30, dtype=torch.long)
    classes_BHW[0, 5:15, 4:24] = 1
    classes_BHW[0, 7, 9] = 0  # a hole changes no bounding box
    boxes = {0: (0, 20, 0, 30), 1: (5, 15, 4, 24)}
    ones = torch.ones(1, 1, 20, 30)
    seen = set()
    for seed in range(60):
        torch.manual_seed(seed)
        (_, cut) = FEATURE_PERTURBATIONS["guided_cutout"]([ones, ones], scene_of(classes_BHW))
        erased = [(y, x) for y in range(20) for x in range(30) if cut[0, 0, y, x] == 0]
        top, bottom = min(erased)[0], max(erased)[0] + 1
        left, right = min(x for _, x in erased), max(x for _, x in erased) + 1
        assert len(erased) == (bottom - top) * (right - left)
        size = (bottom - top, right - left)
        (k,) = [
            k
            for k, box in boxes.items()
            if size == (0.4 * (box[1] - box[0]), 0.4 * (box[3] - box[2]))
        ]
        first_y, last_y, first_x, last_x = boxes[k]
        assert first_y <= top < bottom <= last_y
        assert first_x <= left < right <= last_x
        seen.add((k, top, left))
    assert {k for k, _, _ in seen} == {0, 1}
    assert {top for k, top, _ in seen if k == 1} == set(range(5, 12))
