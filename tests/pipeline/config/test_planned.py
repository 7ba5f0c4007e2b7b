"""`auto` and `auto:<value>`: read as plain values, told apart from what a person set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import PLANNED_KNOBS, Params, left_to_the_plan, parse_params
from pipeline.config.planned import AUTO, chosen_text, in_blocks
from pipeline.errors import ConfigError
from pipeline.planning.plan_rules import RULES

CLASSES = {"classes": ["a", "b"]}
VALUES: dict[str, Any] = {
    "image.height_px": 64, "image.width_px": 96, "image.scale": 0.75, "model.name": "pspnet",
    "model.encoder": "resnet18", "model.freeze_batch_norm": True, "train.steps": 1200,
    "train.batch_labelled": 2, "train.batch_unlabelled": 3, "train.learning_rate": 1e-05,
    "train.encoder_learning_rate": 0.0, "train.precision": "bf16-mixed",
    "method.name": "supervised", "method.ema_decay": 0.99, "acquire.query_size": 5,
    "embed.encoder": "tu-resnet18", "model.options": {"encoder_depth": 4, "dropout": 0.1},
    "model.contender": "probe", "method.consistency_weight": 10.0,
}  # fmt: skip


def value_of(params: Params, knob: str) -> Any:
    block, name = knob.split(".")
    return getattr(getattr(params, block), name)


def test_every_rule_has_its_knob() -> None:
    assert set(PLANNED_KNOBS) == set(RULES) == set(VALUES)


@pytest.mark.parametrize("knob", PLANNED_KNOBS)
def test_a_choice_is_read_as_its_value_and_auto_as_the_default(knob: str) -> None:
    def parsed(text: str) -> Any:
        return value_of(parse_params(CLASSES | in_blocks({knob: text})), knob)

    assert parsed(chosen_text(VALUES[knob])) == VALUES[knob]
    assert parsed(AUTO) == value_of(parse_params(CLASSES), knob)


def test_no_scale_can_be_chosen_too() -> None:
    assert chosen_text(None) == "auto:null"
    assert parse_params(CLASSES | {"image": {"scale": "auto:null"}}).image.scale is None


@pytest.mark.parametrize(
    ("knob", "text", "said"),
    [
        ("train.steps", "auto:0", "train.steps = 0: input should be greater than or equal to 1"),
        ("train.steps", "auto:many", "train.steps = 'many': input should be a valid integer"),
        ("train.steps", "automatic", "train.steps = 'automatic': input should be a valid integer"),
        ("image.height_px", "auto:33", "is not divisible by 32; use 64"),
        ("train.loss", "auto", "train.loss = 'auto': input should be 'cross_entropy'"),
        ("loop.budget", "auto", "loop.budget = 'auto'"),
    ],
)
def test_what_no_plan_can_have_chosen_is_refused(knob: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_params(CLASSES | in_blocks({knob: text}))
    assert said in str(refused.value)


def test_what_a_person_set_is_not_the_plans(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(
        "classes: [a, b]\n"
        "train: {steps: auto, batch_labelled: 'auto:4', learning_rate: 0.01}\n"
        "model: {encoder_weights: auto, name: auto}\n"
        "embed:\n"
    )
    assert left_to_the_plan(file) == {
        "model.name": "auto",
        "train.steps": "auto",
        "train.batch_labelled": "auto:4",
    }
