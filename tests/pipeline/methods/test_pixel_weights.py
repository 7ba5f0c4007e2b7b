"""What FixMatch's relatives weigh, against the papers' formulas in plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pipeline.config.params import MethodParams
from pipeline.errors import ConfigError
from pipeline.methods import METHODS, MethodSetup, Unlabelled
from pipeline.methods.fixmatch import FixMatch, PixelPrediction
from pipeline.methods.shared.class_thresholds import AdaptiveFixMatch, RunningMean
from tests.support.tiny_network import tiny_setup

BATCH, NUM_CLASSES, HEIGHT, WIDTH = 2, 4, 6, 7
NUM_STEPS = 5
FLOOR, CAP, DECAY = 0.1, 0.9, 0.7
NAMES = ["freematch", "flexmatch", "softmatch"]
ADAPTIVE = ["freematch", "flexmatch", "softmatch"]
Pixels = list[tuple[float, int]]


def new_method(name: str, cap: float = CAP, **options) -> FixMatch:
    params = MethodParams(name=name, confidence_threshold=cap, options=options)
    setup = tiny_setup(params, NUM_CLASSES)
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


def valid_pixels(confidence_BHW: Tensor, pseudo_BHW: Tensor, valid_BHW: Tensor) -> Pixels:
    rows = zip(
        confidence_BHW.flatten().tolist(),
        pseudo_BHW.flatten().tolist(),
        valid_BHW.flatten().tolist(),
        strict=True,
    )
    return [(q, c) for q, c, valid in rows if valid]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def average(seen: list[float], start: float) -> float:
    """The exponential moving average that the n-th value moves by at most 1/n."""
    current = start
    for number, value in enumerate(seen, 1):
        keep = min(1 - 1 / number, DECAY)
        current = keep * current + (1 - keep) * value
    return current


def of_class(history: list[Pixels], index: int, rule) -> list[float]:
    """`rule` over the confidences of a class in each step in which it occurs."""
    found = ([q for q, c in pixels if c == index] for pixels in history)
    return [rule(confidences) for confidences in found if confidences]


def free_thresholds(history: list[Pixels]) -> list[float]:
    tau = average([mean([q for q, _ in pixels]) for pixels in history], 1 / NUM_CLASSES)
    means = [average(of_class(history, k, mean), 1 / NUM_CLASSES) for k in range(NUM_CLASSES)]
    return [tau * m / max(means) for m in means]


def flex_thresholds(history: list[Pixels]) -> list[float]:
    def reliable(confidences: list[float]) -> float:
        return mean([float(q >= CAP) for q in confidences])

    effects = [average(of_class(history, k, reliable), 0.0) for k in range(NUM_CLASSES)]
    unused = 1 - average([reliable([q for q, _ in pixels]) for pixels in history], 0.0)
    status = [effect / max(*effects, unused) for effect in effects]
    return [CAP * b / (2 - b) for b in status]


def bounded(thresholds: list[float]) -> list[float]:
    return [min(max(t, FLOOR), CAP) for t in thresholds]


@pytest.mark.parametrize(
    ("name", "formula"), [("freematch", free_thresholds), ("flexmatch", flex_thresholds)]
)
def test_thresholds_are_the_papers(name: str, formula) -> None:
    method = new_method(name, floor=FLOOR, decay=DECAY)
    history, kept = [], 0
    for confidence_BHW, pseudo_BHW, valid_BHW in steps():
        history.append(valid_pixels(confidence_BHW, pseudo_BHW, valid_BHW))
        weights_BHW = weigh(method, confidence_BHW, pseudo_BHW, valid_BHW)
        thresholds = bounded(formula(history))
        expected_BHW = confidence_BHW >= torch.tensor(thresholds)[pseudo_BHW]
        assert torch.equal(weights_BHW, expected_BHW)
        kept += int(expected_BHW.sum())
    assert isinstance(method, AdaptiveFixMatch)
    assert method.thresholds_K().tolist() == pytest.approx(thresholds)
    assert max(thresholds) > FLOOR
    assert len({round(t, 3) for t in thresholds}) > 2
    assert 0 < kept < NUM_STEPS * BATCH * HEIGHT * WIDTH


@pytest.mark.parametrize("per_class", [True, False])
def test_softmatch_weighs_by_a_truncated_gaussian(per_class: bool) -> None:
    method = new_method("softmatch", floor=FLOOR, decay=DECAY, per_class=per_class)
    history = []
    for confidence_BHW, pseudo_BHW, valid_BHW in steps():
        history.append(valid_pixels(confidence_BHW, pseudo_BHW, valid_BHW))
        weights_BHW = weigh(method, confidence_BHW, pseudo_BHW, valid_BHW)
    if not per_class:
        history = [[(q, k) for q, _ in pixels for k in range(NUM_CLASSES)] for pixels in history]

    def variance(values: list[float]) -> float:
        return sum((q - mean(values)) ** 2 for q in values) / (len(values) - 1)

    mus = [average(of_class(history, k, mean), 1 / NUM_CLASSES) for k in range(NUM_CLASSES)]
    variances = [average(of_class(history, k, variance), 1.0) for k in range(NUM_CLASSES)]
    rows = zip(confidence_BHW.flatten().tolist(), pseudo_BHW.flatten().tolist(), strict=True)
    expected = [
        math.exp(-(min(q - bounded(mus)[c], 0) ** 2) / (2 * variances[c] / 2**2)) for q, c in rows
    ]
    assert weights_BHW.flatten().tolist() == pytest.approx(expected, rel=1e-4)
    assert min(expected) < 0.5
    assert max(expected) == 1.0


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


@pytest.mark.parametrize("name", NAMES)
def test_no_class_is_special(name: str) -> None:
    order = torch.tensor([3, 0, 2, 1])
    method, renamed = new_method(name), new_method(name)
    for confidence_BHW, pseudo_BHW, valid_BHW in steps():
        one = weigh(method, confidence_BHW, pseudo_BHW, valid_BHW)
        other = weigh(renamed, confidence_BHW, order[pseudo_BHW], valid_BHW)
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_rare_classs_threshold_does_not_collapse(name: str) -> None:
    method = new_method(name, cap=0.95, floor=0.0)
    assert isinstance(method, AdaptiveFixMatch)
    pseudo_BHW = torch.zeros(1, 10, 100, dtype=torch.int64)
    pseudo_BHW[:, 0, :10] = 1  # 1 % of the pixels, nearly as sure as the others
    confidence_BHW = torch.where(pseudo_BHW == 0, 0.98, 0.96)
    for _ in range(50):
        weigh(method, confidence_BHW, pseudo_BHW, torch.ones_like(pseudo_BHW) > 0)
    common, rare, *_ = method.thresholds_K().tolist()
    assert common == pytest.approx(0.95)
    assert rare > 0.9  # by area, FreeMatch's would be .98 * .01 / .97 = .01


def test_thresholds_stay_between_floor_and_cap() -> None:
    method = new_method("freematch", cap=0.5, floor=0.4)
    assert isinstance(method, AdaptiveFixMatch)
    for step in steps():
        weigh(method, *step)
    assert method.thresholds_K().min().item() == pytest.approx(0.4)  # class 3 was never seen
    assert method.thresholds_K().max().item() == pytest.approx(0.5)
    everything = new_method("freematch", cap=0.0)
    assert weigh(everything, *steps()[0]).all()


def test_flexmatch_warms_up_while_most_pixels_are_unused() -> None:
    method = new_method("flexmatch", floor=0.0)
    assert isinstance(method, AdaptiveFixMatch)
    confidence_BHW = torch.tensor([[[0.95, 0.91, 0.5, 0.4, 0.3]]])  # 2 of 5 reach .9
    nothing = torch.zeros_like(confidence_BHW)
    weigh(method, confidence_BHW, nothing.long(), nothing == 0)
    status = 0.4 / 0.6
    assert method.thresholds_K()[0].item() == pytest.approx(0.9 * status / (2 - status))


def test_a_running_mean_forgets_its_start_and_skips_what_is_not_seen() -> None:
    running = RunningMean(2, start=9.0, decay=0.5)
    running.update(torch.tensor([1.0, 5.0]), torch.tensor([True, False]))
    assert running.values_N.tolist() == [1.0, 9.0]
    running.update(torch.tensor([3.0, 5.0]), torch.tensor([True, True]))
    assert running.values_N.tolist() == [2.0, 5.0]


@pytest.mark.parametrize("name", ADAPTIVE)
def test_one_memory_cannot_follow_two_teachers(name: str) -> None:
    params = MethodParams(name=name, network_perturbation="initialisation")
    setup = new_method(name).setup
    changed = MethodSetup(**{**vars(setup), "params": params})
    with pytest.raises(ConfigError, match=r"network_perturbation: .* cannot"):
        METHODS[name](changed)
