"""A trained teacher of a tiny workspace, and a domain in another light."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image

from pipeline import layout
from pipeline.data.corruptions import ALTERATIONS
from pipeline.models import save_untrained
from pipeline.records.manifest import read_manifest
from pipeline.shift.forward import Picture, thinned
from pipeline.shift.of_workspace import Asked, shift
from pipeline.shift.shift_page import render
from pipeline.stages import train_baseline, train_teacher
from tests.pipeline.conftest import draw_square

pytestmark = pytest.mark.heavy

HOSTILE = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>{{ 7 * 7 }}"


def dusk(root: Path, num: int, scale: float) -> list[Picture]:
    """Squares on noise, darker by `scale`."""
    found = []
    for number in range(100, 100 + num):
        path = root / f"dusk{number}.png"
        image_HWC, _ = draw_square(number, 60, 70)
        Image.fromarray((image_HWC * scale).astype(np.uint8)).save(path)
        found.append(Picture(f"dusk/{number}", path))
    return found


def asked(root: Path, *, val: bool = True, scale: float = 0.3, num: int = 12) -> Asked:
    samples = read_manifest(root / layout.MANIFEST)
    own = [Picture(s.sample_id, root / s.image, root / s.mask if s.mask else None) for s in samples]
    judged = [each for each, s in zip(own, samples, strict=True) if s.split == "val"]
    return Asked(
        a="day", b="dusk", known=own, val=judged if val else [], target=dusk(root, num, scale)
    )


def assert_scaled(found: dict[str, Any]) -> None:
    """The fall that is expected is what thresholds say times what rehearsals say of them."""
    assert found["novelty"] < 2
    assert found["fall_scale"] != 1
    source = found["source_miou"][0]
    expected = source - found["fall_scale"] * (source - found["expected_by_threshold"])
    assert found["expected_miou"][0] == pytest.approx(min(1, max(0, expected)), abs=1e-5)


def test_a_teachers_fall_is_estimated(make_workspace, tiny_params) -> None:
    root, params = make_workspace(8, 2, val=6), tiny_params(train={"steps": 2})
    train_baseline.run(root, params)
    train_teacher.run(root, params)
    found = shift(root, params, asked(root))
    assert found["verdict"] in ("mild", "strong")
    value, low, high = found["expected_miou"]
    assert 0 <= low <= value <= high <= 1
    assert [each["name"] for each in found["rehearsals"]] == list(ALTERATIONS)
    assert any(each["expected_fall"] for each in found["rehearsals"])
    darker = {each["name"]: each["direction"] for each in found["rehearsals"]}
    assert darker["a third of the light"] > max(0.8, darker["inverted"] + 0.2)
    assert_scaled(shift(root, params, asked(root, scale=0.9)))
    assert found["disagreement"]["b"] is not None
    assert found["model"] == "the newest teacher"
    assert len(found["layers"]) > 3
    assert all(row["distance"] >= 0 for row in found["layers"])
    assert shift(root, params, asked(root)) == found
    blind = shift(root, params, asked(root, val=False))
    assert blind["expected_miou"] is None
    assert "a split val is needed" in blind["expected_miou_reason"]
    assert set(blind["entropy"]) == {"a", "b"}


def test_without_a_model_embeddings_speak_alone(make_workspace, tiny_params) -> None:
    root, params = make_workspace(6, 6, val=2), tiny_params()
    found = shift(root, params, asked(root))
    assert found["expected_miou"] is None
    assert found["expected_miou_reason"] == "no model is trained yet"
    assert found["verdict"] == "strong"
    assert "entropy" not in found
    assert found["layers"]
    save_untrained(root / layout.TEACHER, why="no label")
    assert shift(root, params, asked(root)) == found
    same = shift(root, params, asked(root, scale=1.0))
    assert same["verdict"] == "none"
    alone = shift(root, params, asked(root, num=1))
    assert alone["proxy_a_distance"] is None
    assert alone["verdict"] in ("none", "mild", "strong")


def test_hostile_names_are_text_on_the_page(make_workspace, tiny_params, tmp_path: Path) -> None:
    root = make_workspace(6, 6, val=2)
    found = shift(root, tiny_params(), asked(root))
    planted = found | {
        "a": HOSTILE,
        "b": f"$\\frac{{${HOSTILE}",
        "in_words": [HOSTILE, HOSTILE],
        "model": HOSTILE,
        "expected_miou_reason": HOSTILE,
        "most_unlike": [{"sample_id": HOSTILE, "distance": 1.0}],
        "class_prior": {"a": {HOSTILE: 0.5}, "b": {HOSTILE: 0.5}},
        "layers": [row | {"name": HOSTILE} for row in found["layers"]],
    }
    render(planted, {HOSTILE: asked(root).target[0].image}, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert escape(HOSTILE) in html
    assert not re.search(r"<script|<img src=x", html)


@pytest.mark.parametrize(("most", "expected"), [(3, ["a0", "a4", "a9"]), (20, 10)])
def test_images_are_thinned_evenly(most: int, expected: list[str] | int) -> None:
    pictures = [Picture(f"a{number}", Path()) for number in range(10)]
    found = [each.sample_id for each in thinned(pictures, most)]
    assert found == expected or len(found) == expected


def test_a_class_appended_since_the_training_is_seen_nowhere(make_workspace, tiny_params) -> None:
    root, params = make_workspace(4, 2, val=4), tiny_params(train={"steps": 2})
    train_baseline.run(root, params)
    train_teacher.run(root, params)
    before = shift(root, params, asked(root))
    params = params.model_copy(update={"classes": (*params.classes, "new", "newer")})
    found = shift(root, params, asked(root))
    assert found["class_prior"]["b"] == before["class_prior"]["b"] | {"new": 0.0, "newer": 0.0}
    assert found["expected_iou"] == before["expected_iou"] | {"new": None, "newer": None}
    assert found["source_miou"] == before["source_miou"]
    judged = asked(root)
    mask = judged.val[0].mask  # where people have painted it, the teacher is wrong
    Image.fromarray(np.full_like(np.asarray(Image.open(mask)), params.num_classes - 1)).save(mask)
    painted = shift(root, params, judged)
    assert painted["expected_iou"]["newer"] is not None
    assert painted["source_miou"][0] < before["source_miou"][0]
