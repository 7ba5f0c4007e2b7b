"""A report over two domains with images of a few pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.class_colours import class_colours
from pipeline.report import charts, training_charts
from pipeline.report.data import ExampleFacts, QueryItemFacts, Report, RoundFacts

CLASSES = ("road", "sky", "pole")
DRAWN = (
    (charts, "learning_curves"),
    (charts, "coverage"),
    (training_charts, "training_curves"),
    (training_charts, "class_curves"),
)
Draw = Callable[..., str]
Charts = dict[tuple[str, str], str]
_charts: Charts = {}


def _round_row(domain: str, index: int, **known: Any) -> RoundFacts:
    values: dict[str, Any] = {
        "labelled": 12 + 8 * index,
        "annotated": 8 * index,
        "miou_baseline": 0.5 + 0.04 * index,
        "miou_teacher": 0.5 + 0.05 * index,
        "accepted": 8,
        "skipped": 0,
        "corrected": 6,
        "quarantined": 0,
        "minutes": 20.0,
        "reliable_share": 0.5,
    }
    values["tag"] = f"{domain}/r{index}"
    return RoundFacts(domain=domain, round_index=index, **(values | known))


def _evaluation(**mious: tuple[float | None, float | None]) -> dict[str, Any]:
    """Per domain (baseline, teacher); the classes have that mIoU too, and pole is absent."""
    found: dict[str, Any] = {}
    for place, which in enumerate(("baseline", "teacher")):
        found[which] = {
            domain: {
                "val": {
                    "miou": pair[place],
                    "num_images": 0 if pair[place] is None else 5,
                    "iou": {"road": pair[place], "sky": pair[place], "pole": None},
                }
            }
            for domain, pair in mious.items()
        }
    return found


def _once(draw: Draw) -> Draw:
    def remembered(*facts: Any) -> str:
        key = draw.__name__, repr(facts)
        if key not in _charts:
            _charts[key] = draw(*facts)
        return _charts[key]

    return remembered


@pytest.fixture
def charts_once(monkeypatch: pytest.MonkeyPatch) -> Charts:
    """For tests of the page around its charts: of the same facts each is drawn once for all.

    Four fifths of the time of a page goes into them. The charts drawn so far are returned.
    """
    for module, name in DRAWN:
        monkeypatch.setattr(module, name, _once(getattr(module, name)))
    return _charts


@pytest.fixture
def round_row() -> Callable[..., RoundFacts]:
    return _round_row


@pytest.fixture
def evaluation() -> Callable[..., dict[str, Any]]:
    return _evaluation


@pytest.fixture
def make_report(tmp_path: Path) -> Callable[..., Report]:
    image, mask, grey = tmp_path / "image.png", tmp_path / "mask.png", tmp_path / "grey.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(image)
    Image.fromarray(rng.integers(0, 3, (24, 32), dtype=np.uint8)).save(mask)
    Image.fromarray(rng.integers(0, 256, (24, 32), dtype=np.uint8)).save(grey)
    item = QueryItemFacts(
        sample_id="day/a",
        rank=1,
        score=0.63,
        source="strategy",
        reason="uncertain (entropy 0.63, top 1 of 20)",
        image_path=image,
        pseudo_label_path=mask,
        uncertainty_path=grey,
    )
    example = ExampleFacts(
        sample_id="day/b", image_path=image, pseudo_label_path=mask, confidence_path=grey
    )
    look = {"step": 300, "miou": 0.5, "precision": {"road": 0.9}, "coverage": {"road": 0.5}}
    curves = {"steps": 300, "loss": [2.0, 1.0], "reliable_share": [0.2, 0.4], "monitor": [look]}

    def make(**known: Any) -> Report:
        values: dict[str, Any] = {
            "workspace_name": "demo",
            "domain": "day",
            "round_index": 2,
            "class_names": CLASSES,
            "class_colours": class_colours(len(CLASSES)),
            "rounds": tuple(_round_row("day", index) for index in range(3)),
            "evaluation": _evaluation(day=(0.58, 0.6)),
            "previous_evaluation": _evaluation(day=(0.54, 0.55)),
            "training": {"baseline": {"steps": 300, "loss": [2.0, 1.5]}, "teacher": curves},
            "query": (item,),
            "pseudo_label_examples": (example,),
            "versions": {"tag": "day/r2", "torch": "2.15.0"},
            "links": {"Prefect": "http://127.0.0.1:4200"},
        }
        return Report(**(values | known))

    return make
