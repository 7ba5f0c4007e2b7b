"""Each rule gives what docs/plan.md says, on workspaces from three images to 100,000."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipeline.config.params import parse_params
from pipeline.config.planned import in_blocks
from pipeline.planning import plan_rules as rules
from pipeline.planning.data_fingerprint import ClassExtent, DataFingerprint
from pipeline.planning.machine import Machine
from pipeline.planning.plan_rules import Facts, coverage, worth_of_scale
from tests.support.plans import (
    FIXTURES,
    LARGE_GPU,
    SERVER,
    cost,
    data,
    examples,
    extents,
    planned,
    values,
)

PAGE = Path(__file__).parents[3] / "docs/plan.md"


def test_the_page_shows_three_plans_as_they_are() -> None:
    assert examples() in PAGE.read_text(), "python -m tests.support.plans prints them"


@pytest.mark.parametrize("name", FIXTURES)
def test_a_workspace_gets_what_the_rules_say(name: str) -> None:
    of, machine, expected = FIXTURES[name]
    found = values(planned(of, machine))
    assert {knob: found[knob] for knob in expected} == expected


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize("profile", ["quick", "balanced", "best"])
def test_every_plan_holds_as_params_and_gives_a_reason_for_each_choice(
    name: str, profile: str
) -> None:
    of, machine, _ = FIXTURES[name]
    plan = planned(of, machine, profile=profile)
    parse_params({"classes": ["a", "b"], **in_blocks(plan.values())})
    assert [choice.knob for choice in plan.choices] == [
        *rules.RULES,
        "annotation.background",
        "loop.budget",
    ]
    assert all(len(choice.reason) > 15 for choice in plan.choices)
    assert plan.minutes_per_round > 0


def test_profiles_take_more_and_more() -> None:
    of, machine, _ = FIXTURES["street scenes"]
    plans = [planned(of, machine, profile=profile) for profile in ("quick", "balanced", "best")]
    minutes = [plan.minutes_per_round for plan in plans]
    steps = [values(plan)["train.steps"] for plan in plans[1:]]
    sizes = [values(plan)["image.height_px"] * values(plan)["image.width_px"] for plan in plans[1:]]
    assert minutes == sorted(minutes)
    assert minutes[0] < minutes[1] < minutes[2]
    assert sizes[0] < sizes[1]
    assert steps[0] < steps[1]


def test_a_quick_round_on_a_cpu_is_a_probes() -> None:
    of, machine, _ = FIXTURES["street scenes"]
    found = values(planned(of, machine, profile="quick"))
    wanted = {
        "model.name": "probe",
        "model.contender": "none",
        "model.options": {},
        "method.name": "supervised",
        "image.height_px": 384,
        "image.width_px": 480,
        "image.scale": 1.0,
        "train.steps": 600,
        "train.learning_rate": 1e-2,
    }
    assert {knob: found[knob] for knob in wanted} == wanted
    assert values(planned(of, LARGE_GPU, profile="quick"))["model.name"] == "deeplabv3plus"
    unknown = planned(of, machine, profile="quick", stored=())
    assert values(unknown)["model.name"] == "deeplabv3plus", "random features hold little"


def test_a_pretrained_network_meets_a_probe() -> None:
    of, machine, _ = FIXTURES["street scenes"]
    assert values(planned(of, LARGE_GPU))["model.contender"] == "probe"
    assert values(planned(of, machine, stored=()))["model.contender"] == "none"


def test_what_a_person_set_stands_and_later_rules_follow_it() -> None:
    of, machine, _ = FIXTURES["street scenes"]
    free = planned(of, machine)
    mine = planned(of, machine, yours={"image.height_px": 96, "image.width_px": 128})
    by_knob = {choice.knob: choice for choice in mine.choices}
    assert by_knob["image.height_px"].yours
    assert values(mine)["image.width_px"] == 128
    assert "image.height_px" not in mine.values()
    assert values(mine)["train.steps"] > values(free)["train.steps"]  # a step takes less
    slow = planned(of, machine, yours={"train.steps": 12_000})
    assert values(slow)["method.ema_decay"] > values(free)["method.ema_decay"]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(1.0, 0.5 * 0.25), (0.5, 1.0), (0.25, 1.0), (0.75, (4 / 6) * (4 / 12))],
)
def test_coverage_is_what_of_the_image_fits_a_crop(scale: float, expected: float) -> None:
    of = data((8, 16), 1)
    assert coverage(scale, of, (4, 8 if scale != 1.0 and scale != 0.75 else 4)) == pytest.approx(
        expected
    )


def test_the_worth_of_a_scale_is_that_of_the_page() -> None:
    of = data((400, 400), 1, extents=extents(a=8, b=80))
    small, large = (1 - math.exp(-((width * 0.5 / 4) ** 2)) for width in (8, 80))
    by_hand = math.sqrt(small * large) * (1 / 4) ** 0.15
    assert worth_of_scale(0.5, of, (100, 100)) == pytest.approx(by_hand)


def test_small_things_ask_for_a_finer_scale_than_large_ones() -> None:
    def scale(width: float) -> float:
        of = data((1080, 1920), 100, num_labelled=9, extents=extents(a=width, b=width))
        return float(values(planned(of, SERVER))["image.scale"])

    chosen = [scale(width) for width in (2, 12, 40, 200, 900)]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] == 1.0
    assert chosen[-1] < 0.4


def test_a_smaller_crop_shows_as_much_at_a_coarser_scale() -> None:
    of = data((360, 480), 400)
    small = planned(of, SERVER, yours={"image.height_px": 96, "image.width_px": 128})
    assert values(small)["image.scale"] < values(planned(of, SERVER))["image.scale"]


def test_no_scale_is_finer_than_the_photographs_are_sharp() -> None:
    sharp, blurred = (data((400, 400), 9, detail_scale=s) for s in (1.0, 0.35))
    assert values(planned(blurred, LARGE_GPU))["image.scale"] <= 0.35
    assert values(planned(sharp, LARGE_GPU))["image.scale"] == 1.0


@pytest.mark.parametrize(
    ("stored", "machine", "encoder", "model"),
    [
        ((), SERVER, "tu-mobilenetv2_100", "deeplabv3plus"),
        (("resnet18", "tu-resnet18", "tu-mobilenetv2_100"), SERVER,
         "tu-mobilenetv2_100", "deeplabv3plus"),
        (("tu-hrnet_w18",), SERVER, "tu-hrnet_w18", "hrnet"),
        (("resnet18",), SERVER, "tu-mobilenetv2_100", "deeplabv3plus"),
        (("tu-vit_small_patch14_dinov2", "tu-resnet50"), LARGE_GPU, "tu-vit_small_patch14_dinov2",
         "dinov2_dpt"),
        (("tu-vit_tiny_patch16_224",), LARGE_GPU, "tu-vit_tiny_patch16_224", "vit"),
        (("tu-vit_small_patch16_dinov3",), LARGE_GPU, "tu-vit_small_patch16_dinov3", "dinov2_dpt"),
    ],
)  # fmt: skip
def test_the_network_follows_the_weights_that_are_there(
    stored: tuple[str, ...], machine: Machine, encoder: str, model: str
) -> None:
    found = values(planned(data((360, 480), 9), machine, stored=stored))
    assert (found["model.encoder"], found["model.name"]) == (encoder, model)
    assert found["embed.encoder"] == encoder


def test_without_weights_nothing_is_frozen_and_all_learns_alike() -> None:
    found = values(planned(data((360, 480), 9), SERVER, stored=()))
    assert not found["model.freeze_batch_norm"]
    assert found["train.encoder_learning_rate"] == found["train.learning_rate"]


@pytest.mark.parametrize(("steps", "decay"), [(300, 0.96), (3000, 0.987), (20_000, 0.995)])
def test_the_teacher_averages_over_more_steps_of_a_longer_training(
    steps: int, decay: float
) -> None:
    found = values(planned(data((360, 480), 9), SERVER, yours={"train.steps": steps}))
    assert found["method.ema_decay"] == pytest.approx(decay, abs=5e-4)


def test_a_few_labels_are_not_gone_over_for_ever() -> None:
    few = planned(data((360, 480), 900, num_labelled=8), LARGE_GPU)
    many = planned(data((360, 480), 900, num_labelled=500), LARGE_GPU)
    assert values(few)["train.steps"] == 1000
    assert values(many)["train.steps"] > 5000
    (reason,) = [choice.reason for choice in few.choices if choice.knob == "train.steps"]
    assert "8 labelled images" in reason


@pytest.mark.parametrize(
    ("name", "passes"), [("street scenes", 1), ("a second domain without a label", 2.5 + 1)]
)
def test_a_round_is_its_trainings_and_a_look_at_every_image(name: str, passes: float) -> None:
    """One training where labels alone teach, else the baseline's and the teacher's; and a probe."""
    of, machine, _ = FIXTURES[name]
    plan = planned(of, machine)
    found = values(plan)
    pixels = found["image.height_px"] * found["image.width_px"] * 4
    trained_s = found["train.steps"] * passes * pixels * 1.5e-6
    seen = (360 * found["image.scale"]) * (480 * found["image.scale"]) * 16 / 9
    predicted_s = 400 * seen * 1.5e-6
    unblended = seen * 9 / 16
    probe_s = 600 * 0.01 + (28 + 64) * 0.1728 * 0.6 + 64 * unblended * 1.5e-6
    assert plan.minutes_per_round == pytest.approx(
        (trained_s + predicted_s + probe_s) / 60, rel=0.01
    )


def test_money_is_not_the_plans_to_spend() -> None:
    plan = planned(data((64, 64), 9), SERVER)
    (budget,) = [choice for choice in plan.choices if choice.knob == "loop.budget"]
    assert (budget.value, budget.yours) == (None, False)
    assert "loop.budget" not in plan.values()
    assert "until people or the stopping rule end it" in budget.reason


def of_shares(**shares: float) -> DataFingerprint:
    sizes = {name: ClassExtent(share=share, width_px=50) for name, share in shares.items()}
    return data((480, 640), 100, num_labelled=20, extents=sizes, num_classes=len(shares))


@pytest.mark.parametrize(
    ("shares", "proposed"),
    [
        ({"soil": 0.93, "weed": 0.04, "crop": 0.03}, "soil"),
        ({"weed": 0.3, "soil": 0.5, "crop": 0.2}, "soil"),
        ({"road": 0.49, "building": 0.26, "sky": 0.25}, None),
        ({}, None),
    ],
)
def test_a_class_that_covers_half_of_the_pixels_is_proposed_as_background(
    shares: dict[str, float], proposed: str | None
) -> None:
    plan = planned(of_shares(**shares), SERVER)
    (choice,) = [one for one in plan.choices if one.knob == "annotation.background"]
    assert choice.value is None  # people decide
    assert "annotation.background" not in plan.values()
    spares = "here spares people painting it"
    assert (spares in choice.reason) == bool(proposed)
    assert not proposed or f"{proposed!r} {spares}" in choice.reason
    if shares:
        assert f"has {max(shares.values()):.0%}" in choice.reason


def test_a_background_that_is_set_is_shown_as_yours() -> None:
    plan = planned(of_shares(b=0.9, a=0.1), SERVER, yours={"annotation.background": "a"})
    (choice,) = [one for one in plan.choices if one.knob == "annotation.background"]
    assert (choice.value, choice.yours) == ("a", True)


def test_no_background_is_proposed_where_a_class_is_called_unknown() -> None:
    facts = Facts(
        data=of_shares(soil=0.9, unknown=0.1),
        machine=SERVER,
        profile="balanced",
        stored_encoders=(),
        cost=cost,
    )
    params = parse_params({"classes": ["soil", "unknown"]})
    assert rules.background(facts, params).value is None
