"""params.yaml is refused whole, and every problem names its key, its value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import load_params, parse_params
from pipeline.errors import ConfigError
from pipeline.types import MAX_CLASSES

GOOD: dict[str, Any] = {"classes": ["road", "sky"]}
BAD = {
    "unknown key": ({"train": {"stepz": 1}}, "train.stepz: unknown key; known here: seed, steps"),
    "unknown block": ({"trian": {}}, "trian: unknown key; known here: classes, profile"),
    "unknown under a domain": (
        {"domains": {"day": {"size": 3}}},
        "domains.day.size: unknown key; known here: query_size, budget",
    ),
    "text for a number": ({"train": {"steps": "many"}}, "train.steps = 'many': input should be a"),
    "number for a truth": (
        {"model": {"freeze_batch_norm": 1}},
        "model.freeze_batch_norm = 1: input should be a valid bool",
    ),
    "fraction for a whole": ({"train": {"steps": 2.5}}, "train.steps = 2.5: input should be a"),
    "below": ({"train": {"steps": 0}}, "train.steps = 0: input should be greater than or equal"),
    "above": (
        {"method": {"confidence_threshold": 1.5}},
        "method.confidence_threshold = 1.5: input should be less than or equal to 1",
    ),
    "not one of": (
        {"model": {"normalisation": "none"}},
        "model.normalisation = 'none': input should be 'auto', 'imagenet' or 'symmetric'",
    ),
    "an auto of one's own": (
        {"embed": {"encoder_weights": "auto:latest"}},
        "embed.encoder_weights = 'auto:latest': after auto: the loop writes random or a SHA-256",
    ),
    "not a loss": (
        {"train": {"loss": "focal"}},
        "train.loss = 'focal': input should be 'cross_entropy' or 'symmetric_cross_entropy'",
    ),
    "not a way to weigh": (
        {"train": {"class_weights": "inverse"}},
        "train.class_weights = 'inverse': input should be 'none' or 'sqrt_inverse'",
    ),
    "more looks than steps": (
        {"train": {"monitor_share": 2.0}},
        "train.monitor_share = 2.0: input should be less than or equal to 1",
    ),
    "more than all images": (
        {"train": {"labelled_colours": 1.5}},
        "train.labelled_colours = 1.5: input should be less than or equal to 1",
    ),
    "a word for a truth": (
        {"method": {"transductive": "no"}},
        "method.transductive = 'no': input should be a valid bool",
    ),
    "not divisible": ({"image": {"height_px": 100}}, "image.height_px = 100: is not divisible"),
    "a scale that makes pixels up": (
        {"image": {"scale": 1.5}},
        "image.scale = 1.5: input should be less than or equal to 1",
    ),
    "one class": ({"classes": ["road"]}, "classes: at least 2 expected, got 1"),
    "too many classes": (
        {"classes": [str(number) for number in range(300)]},
        f"classes: at most {MAX_CLASSES} expected, got ",
    ),
    "a class twice": ({"classes": ["a", "b", "a"]}, "class names must be distinct, got twice"),
    "a background that is no class": (
        {"annotation": {"background": "soil"}},
        "annotation.background 'soil' is not one of classes: ['road', 'sky']",
    ),
    "a background beside a class called unknown": (
        {"classes": ["road", "unknown"], "annotation": {"background": "road"}},
        "people must be able to say 'unknown' beside the classes",
    ),
    "a background of 255 classes": (
        {
            "classes": [str(number) for number in range(MAX_CLASSES)],
            "annotation": {"background": "3"},
        },
        "and at most 254",
    ),
    "an unknown domain": ({"domain": "night"}, "domain 'night' is not one of domains: []"),
    "a domain that is no folder": ({"domains": {"../x": {}}}, "domain name '../x': use lower-case"),
}


def test_what_is_left_out_has_a_default() -> None:
    params = parse_params(GOOD)
    assert params.num_classes == 2
    assert params.method.name == "mean_teacher"


@pytest.mark.parametrize(("changes", "complaint"), BAD.values(), ids=BAD)
def test_refused_by_name(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_params({**GOOD, **changes})
    assert complaint in str(error.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"2 problem\(s\)\n  train.*\n  acquire"):
        parse_params({**GOOD, "train": {"stepz": 1}, "acquire": {"query_size": 0}})


def test_classes_are_needed() -> None:
    with pytest.raises(ConfigError, match="classes: missing"):
        parse_params({})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("- a\n- b\n", "expected a mapping"), ("a: [1\n", "not valid YAML"), ("", "expected a map")],
)
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load_params(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; `ssl-loop init DIR` writes one"):
        load_params(tmp_path / "params.yaml")
