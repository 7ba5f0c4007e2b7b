"""What FixMatch's relatives weigh, with numbers by hand; in plain loops: benchmarks/fidelity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pipeline.config.params import MethodParams
from pipeline.errors import ConfigError
from pipeline.methods import METHODS, Unlabelled
from pipeline.methods.fixmatch import FixMatch, PixelPrediction
from pipeline.methods.freematch import FreeMatch
from pipeline.methods.shared.class_thresholds import AdaptiveFixMatch
from pipeline.methods.softmatch import RunningMean
from tests.support.tiny_network import TinySet, tiny_setup

BATCH, NUM_CLASSES, HEIGHT, WIDTH = 2, 4, 6, 7
NUM_STEPS = 5
CAP = 0.9
ADAPTIVE = ["freematch", "flexmatch", "softmatch"]


def new_method(
    name: str,
    cap: float = CAP,
    *,
    num_classes: int = NUM_CLASSES,
    num_images: int = 6,
    **options,
) -> FixMatch:
    params = MethodParams(name=name, confidence_threshold=cap, options=options)
    setup = tiny_setup(params, num_classes, unlabelled=TinySet(num_images))
    method = METHODS[name](setup)
    assert isinstance(method, FixMatch)
    return method


def steps() -> list[tuple[Tensor, Tensor, Tensor]]:
    """(confidence, pseudo, valid) of some steps; class 2 comes late, class 3 never."""
    draw = torch.Generator().manual_seed(0)
    size = (BATCH, HEIGHT, WIDTH)
    found = []
    for step in range(NUM_STEPS):
        pseudo_BHW = torch.randint(2 if step < 2 else 3, size, generator=draw)
        # Class 1 is less sure than class 0, class 2 less than that.
        confidence_BHW = 0.25 + 0.75 * torch.rand(size, generator=draw) ** (0.1 + 0.2 * pseudo_BHW)
        found.append((confidence_BHW, pseudo_BHW, torch.rand(size, generator=draw) < 0.7))
    return found


def weigh(
    method: FixMatch, confidence_BHW: Tensor, pseudo_BHW: Tensor, valid_BHW: Tensor
) -> Tensor:
    """What the method's pixels weigh; the other classes share the rest of the probability."""
    rest_BKHW = ((1 - confidence_BHW) / (NUM_CLASSES - 1))[:, None].repeat(1, NUM_CLASSES, 1, 1)
    probs_BKHW = rest_BKHW.scatter(1, pseudo_BHW[:, None], confidence_BHW[:, None])
    seen = Unlabelled(torch.arange(len(valid_BHW)), torch.zeros(0), valid_BHW, ())
    return method.pixel_weights(PixelPrediction(probs_BKHW, confidence_BHW, pseudo_BHW), seen)


def probs_of(pixels: list[list[float]]) -> Tensor:
    """One image of one row, 1K1W."""
    return torch.tensor(pixels).T[None, :, None]


def weigh_pixels(method: FixMatch, pixels: list[list[float]], *, image: int = 0) -> list[float]:
    """Of one image of one row, whose last pixel is padding."""
    probs_BKHW = probs_of(pixels)
    valid_BHW = torch.tensor([[[True] * (len(pixels) - 1) + [False]]])
    seen = Unlabelled(torch.tensor([image]), torch.zeros(0), valid_BHW, ())
    predicted = PixelPrediction(probs_BKHW, *probs_BKHW.max(dim=1))
    return method.pixel_weights(predicted, seen)[valid_BHW].float().tolist()


def test_freematch_by_hand() -> None:
    """Thresholds .6333 = (.5 + .7667) / 2 and .6333 * .4667 / .5333."""
    method = new_method("freematch", num_classes=2, decay=0.5)
    assert isinstance(method, FreeMatch)
    pixels = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [1.0, 0.0]]
    assert weigh_pixels(method, pixels) == [1.0, 0.0, 1.0]
    assert method.thresholds_K().tolist() == pytest.approx([0.633333, 0.554167], rel=1e-5)
    # p / h is .5333 / .5833 and .4667 / .4167, the student's .575 / .5 and .425 / .5.
    learnt, kept_BHW = probs_of([[0.75, 0.25], [0.4, 0.6], [0.1, 0.9]]), torch.ones(1, 1, 3) > 0
    kept_BHW[..., 2] = False
    assert method.fairness(learnt, kept_BHW).item() == pytest.approx(-0.719807, rel=1e-5)
    assert method.fairness(learnt, kept_BHW & False).item() == 0.0


def test_freematchs_fairness_is_a_term_with_its_own_weight() -> None:
    method = new_method("freematch", num_classes=2, fairness_weight=0.5)
    assert isinstance(method, FreeMatch)
    logits_BKHW = probs_of([[0.75, 0.25], [0.4, 0.6]]).log().requires_grad_()
    every_BHW = torch.ones(1, 1, 2) > 0
    terms = method.pixel_terms(logits_BKHW, torch.zeros(1, 1, 2).long(), every_BHW, every_BHW)
    expected = 0.5 * (0.5 * math.log(0.575) + 0.5 * math.log(0.425))  # a is even at the start
    assert terms["fairness"].item() == pytest.approx(expected, rel=1e-5)
    terms["fairness"].backward()
    assert logits_BKHW.grad.any()


def test_flexmatch_by_hand() -> None:
    """Thresholds of before the step; the whole set counts, an image as it was seen last."""
    method = new_method("flexmatch", num_classes=2, num_images=2)
    assert isinstance(method, AdaptiveFixMatch)
    pixels = [[0.95, 0.05], [0.91, 0.09], [0.08, 0.92], [0.5, 0.5], [0.7, 0.3], [1.0, 0.0]]
    assert weigh_pixels(method, pixels) == [1.0] * 5  # nothing used yet: every pixel teaches
    # sigma = .4, .2; unused 2 - .6: b = .4 / 1.4, .2 / 1.4.
    assert method.thresholds_K().tolist() == pytest.approx([0.15, 0.0692308], rel=1e-5)
    weigh_pixels(method, [[0.99, 0.01]] * 6, image=1)  # sigma = 1.4, .2; unused .4
    assert method.thresholds_K().tolist() == pytest.approx([0.9, 0.0692308], rel=1e-5)
    assert weigh_pixels(method, [[0.8, 0.2]] * 6) == [0.0] * 5
    assert method.thresholds_K().tolist() == pytest.approx([0.9, 0.0])  # sigma = 1, 0


def test_soft_teacher_by_hand() -> None:
    """A sure and an unsure pixel of class 1, one of the background, one of padding."""
    method = new_method("soft_teacher")
    confidence_BHW = torch.tensor([[[0.95, 0.85, 0.6, 0.99]]])
    pseudo_BHW = torch.tensor([[[1, 1, 0, 0]]])
    valid_BHW = torch.tensor([[[True, True, True, False]]])
    weights_BHW = weigh(method, confidence_BHW, pseudo_BHW, valid_BHW)
    assert weights_BHW[valid_BHW].tolist() == pytest.approx([1.0, 0.0, 0.6])
    # The student gives the labels 1/2, 1/8, 1/4, 1/8: (ln 2 + .6 ln 4) / (1 + .6).
    given_WK = torch.tensor([[2, 4, 1, 1], [3, 1, 2, 2], [2, 2, 2, 2], [1, 3, 2, 2]]) / 8
    logits_BKHW = given_WK.log().T[None, :, None]
    terms = method.pixel_terms(logits_BKHW, pseudo_BHW, weights_BHW, valid_BHW)
    assert terms["consistency"].item() == pytest.approx(0.953077, rel=1e-5)
    # Weights of less than 1 in all are not blown up: .6 ln 4 / 1.
    valid_BHW[..., 0] = False
    terms = method.pixel_terms(logits_BKHW, pseudo_BHW, weights_BHW, valid_BHW)
    assert terms["consistency"].item() == pytest.approx(0.831777, rel=1e-5)


def test_soft_teachers_background_is_named_and_exists() -> None:
    one_BHW = torch.ones(1, 1, 1)
    method = new_method("soft_teacher", background=3)
    assert weigh(method, one_BHW * 0.4, one_BHW.long() * 3, one_BHW > 0).item() == pytest.approx(
        0.4
    )
    assert weigh(method, one_BHW * 0.4, one_BHW.long() * 0, one_BHW > 0).item() == 0.0
    with pytest.raises(ConfigError, match=r"background = 4: no such class; .*, 0 to 3"):
        new_method("soft_teacher", background=4)
    with pytest.raises(ConfigError, match="background = -1"):
        new_method("soft_teacher", background=-1)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_no_class_is_special(name: str) -> None:
    order = torch.tensor([3, 0, 2, 1])
    method, renamed = new_method(name), new_method(name)
    for confidence_BHW, pseudo_BHW, valid_BHW in steps():
        one = weigh(method, confidence_BHW, pseudo_BHW, valid_BHW)
        other = weigh(renamed, confidence_BHW, order[pseudo_BHW], valid_BHW)
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_padding_moves_nothing(name: str) -> None:
    confidence_BHW, pseudo_BHW, valid_BHW = steps()[-1]
    one, other = new_method(name), new_method(name)
    weights_BHW = weigh(one, confidence_BHW, pseudo_BHW, valid_BHW)
    torch.manual_seed(1)
    noisy_BHW = torch.where(valid_BHW, confidence_BHW, torch.rand(confidence_BHW.shape))
    noise_BHW = torch.where(valid_BHW, pseudo_BHW, torch.randint(4, pseudo_BHW.shape))
    others_BHW = weigh(other, noisy_BHW, noise_BHW, valid_BHW)
    assert torch.equal(weights_BHW[valid_BHW], others_BHW[valid_BHW])


@pytest.mark.parametrize("name", ADAPTIVE)
def test_thresholds_move_in_training_only_and_by_valid_pixels_only(name: str) -> None:
    method = new_method(name)
    confidence_BHW, pseudo_BHW, valid_BHW = steps()[0]
    before = {key: value.clone() for key, value in method.state_dict().items()}
    weigh(method, confidence_BHW, pseudo_BHW, torch.zeros_like(valid_BHW))
    weigh(method.eval(), confidence_BHW, pseudo_BHW, valid_BHW)
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())
    weigh(method.train(), confidence_BHW, pseudo_BHW, valid_BHW)
    assert any(not torch.equal(before[key], value) for key, value in method.state_dict().items())


def test_a_rare_classs_mean_does_not_collapse_in_softmatch() -> None:
    method = new_method("softmatch", cap=0.95, floor=0.0)
    assert isinstance(method, AdaptiveFixMatch)
    pseudo_BHW = torch.zeros(1, 10, 100, dtype=torch.int64)
    pseudo_BHW[:, 0, :10] = 1  # 1 % of the pixels, nearly as sure as the others
    confidence_BHW = torch.where(pseudo_BHW == 0, 0.98, 0.96)
    for _ in range(50):
        weigh(method, confidence_BHW, pseudo_BHW, torch.ones_like(pseudo_BHW) > 0)
    common, rare, *_ = method.thresholds_K().tolist()
    assert common == pytest.approx(0.95)
    assert rare == pytest.approx(0.95)  # .96, bounded


def test_thresholds_have_a_floor_only_where_asked() -> None:
    for name in ("freematch", "flexmatch"):
        for floor, method in ((0.0, new_method(name)), (0.4, new_method(name, floor=0.4))):
            assert isinstance(method, AdaptiveFixMatch)
            for step in steps():
                weigh(method, *step)
            lowest = method.thresholds_K().min().item()
            assert lowest == pytest.approx(0.4) if floor else lowest < 0.4
    capped = new_method("softmatch", cap=0.5, floor=0.4)
    assert isinstance(capped, AdaptiveFixMatch)
    for step in steps():
        weigh(capped, *step)
    assert capped.thresholds_K().max().item() == pytest.approx(0.5)
    assert capped.thresholds_K().min().item() == pytest.approx(0.4)  # class 3 was never seen


def test_a_running_mean_forgets_its_start_and_skips_what_is_not_seen() -> None:
    running = RunningMean(2, start=9.0, decay=0.5)
    running.update(torch.tensor([1.0, 5.0]), torch.tensor([True, False]))
    assert running.values_N.tolist() == [1.0, 9.0]
    running.update(torch.tensor([3.0, 5.0]), torch.tensor([True, True]))
    assert running.values_N.tolist() == [2.0, 5.0]
