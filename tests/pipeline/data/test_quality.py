"""Planted junk is found; real and synthetic images are not mistaken for it."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.data.formats.images import load_image
from pipeline.data.quality import FEW, Look, Pixels, in_words, look_at, to_leave_out, why_unfit
from pipeline.data.synthetic.conditions import DAY, DUSK
from pipeline.data.synthetic.scene import draw_scene

NUM_SCENES = 24
HEIGHT_PX, WIDTH_PX = 120, 160


@pytest.fixture(scope="module")
def streets() -> dict[str, Pixels]:
    rng = np.random.default_rng(0)
    size = {"height_px": HEIGHT_PX, "width_px": WIDTH_PX}
    return {f"street{k:02}": draw_scene(DAY, rng, **size)[0] for k in range(NUM_SCENES)}


@pytest.fixture(scope="module")
def looks(streets: dict[str, Pixels]) -> dict[str, Look]:
    return {name: look_at(pixels) for name, pixels in streets.items()}


def blurred(pixels: Pixels, radius_px: float) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius_px)))


def lens_cap(seed: int) -> Pixels:
    noise = np.random.default_rng(seed).normal(20, 5, (HEIGHT_PX, WIDTH_PX, 3))
    return noise.clip(0, 255).astype(np.uint8)


def nuclei() -> Pixels:
    """Dark, and nearly empty: three dim spots."""
    pixels = np.full((HEIGHT_PX, WIDTH_PX, 3), 4, np.uint8)
    for row, column in ((20, 30), (60, 100), (90, 50)):
        pixels[row : row + 12, column : column + 12] = 30
    return pixels


def page_of_text() -> Pixels:
    pixels = np.full((HEIGHT_PX, WIDTH_PX, 3), 245, np.uint8)
    pixels[10:110:6, 10:150:2] = 20
    return pixels


def test_a_clean_domain_is_left_alone(looks: dict[str, Look]) -> None:
    assert to_leave_out(looks, ()) == {}


@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_grey_is_blank(value: int) -> None:
    look = look_at(np.full((40, 60, 3), value, np.uint8))
    assert to_leave_out({"a": look}, ()) == {"a": "blank: all of it within 0 of 255 grey levels"}


def test_a_covered_lens_is_blank_whatever_its_noise(looks: dict[str, Look]) -> None:
    planted = {f"cap{seed}": look_at(lens_cap(seed)) for seed in range(3)}
    found = to_leave_out(looks | planted, ())
    assert sorted(found) == sorted(planted)
    assert all(why.startswith("blank") for why in found.values())


def test_a_few_dim_nuclei_are_not_blank() -> None:
    assert to_leave_out({"a": look_at(nuclei())}, ()) == {}


def test_blurred_is_against_the_domain(looks: dict[str, Look], streets: dict[str, Pixels]) -> None:
    planted = {"moved": look_at(blurred(streets["street03"], 4))}
    found = to_leave_out(looks | planted, ())
    assert list(found) == ["moved"]
    assert found["moved"].startswith("blurred: ")
    soft = {name: look_at(blurred(pixels, 4)) for name, pixels in streets.items()}
    assert to_leave_out(soft, ()) == {}  # where all is soft, soft is usual


def test_an_image_by_itself_is_judged_by_what_is_usual_elsewhere(
    looks: dict[str, Look], streets: dict[str, Pixels]
) -> None:
    usual = float(np.median([look.sharpness for look in looks.values()]))
    assert {why_unfit(look, usual) for look in looks.values()} == {""}
    first = next(iter(streets.values()))
    assert why_unfit(look_at(blurred(first, 6)), usual).startswith("blurred: ")
    assert why_unfit(look_at(lens_cap(0)), usual).startswith("blank: ")


def test_another_scene_is_far_from_every_other(looks: dict[str, Look]) -> None:
    found = to_leave_out(looks | {"page": look_at(page_of_text())}, ())
    assert list(found) == ["page"]
    assert found["page"].startswith("another scene: ")


def test_with_few_images_nothing_is_usual(looks: dict[str, Look]) -> None:
    few = dict(list(looks.items())[: FEW - 2]) | {"page": look_at(page_of_text())}
    assert to_leave_out(few, ()) == {}


def test_of_equal_pixels_the_needed_or_the_first_stays(looks: dict[str, Look]) -> None:
    twice = {"z": looks["street01"]} | looks | {"a": looks["street02"]}
    found = to_leave_out(twice, {"z"})
    assert found == {
        "street01": "duplicate: the same pixels as z",
        "street02": "duplicate: the same pixels as a",
    }


def test_a_single_pixel_is_no_duplicate_and_neither_is_another_shape() -> None:
    pixels = nuclei()
    other = pixels.copy()
    other[0, 0, 0] += 1
    turned = pixels.reshape(WIDTH_PX, HEIGHT_PX, 3)
    assert len({look_at(p).pixels_sha256 for p in (pixels, other, turned)}) == 3


def test_images_with_masks_are_kept_whatever_they_show(looks: dict[str, Look]) -> None:
    junk = {"cap": look_at(lens_cap(0)), "page": look_at(page_of_text())}
    assert to_leave_out(looks | junk, junk.keys()) == {}


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 3), (17, 16), (2000, 9)])
def test_images_of_any_size_are_looked_at(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    look = look_at(pixels)
    assert np.isfinite(look.sharpness)
    assert np.linalg.norm(look.scene_F) == pytest.approx(1)


def test_words_name_the_first_and_count_the_rest() -> None:
    assert in_words("day", {}) == []
    lines = in_words("day", {f"day/{k:02}": "blank" for k in range(23)})
    assert lines[0] == "left out of the loop: 23, kept on disk"
    assert lines[1] == "  day/00: blank"
    assert lines[-2:] == [
        "  and 3 more: the report has pictures",
        "to use them all the same: ssl-loop domain let-in day",
    ]


def test_dusk_among_days_is_no_other_scene(looks: dict[str, Look]) -> None:
    rng = np.random.default_rng(1)
    dusk, _ = draw_scene(DUSK, rng, height_px=HEIGHT_PX, width_px=WIDTH_PX)
    assert "dusk" not in to_leave_out(looks | {"dusk": look_at(dusk)}, ())


@pytest.mark.data
@pytest.mark.parametrize("name", ["camvid", "dsb2018"])
def test_real_images_are_left_alone(name: str) -> None:
    """A few of each imaging condition, as one folder."""
    data = os.environ.get("SSL_LOOP_DATA")
    if not data:
        pytest.skip("SSL_LOOP_DATA does not say where the public data sets are")
    root = Path(data) / name
    with (root / "splits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    looks = {row["id"]: look_at(load_image(root / f"images/{row['id']}.jpg")) for row in rows[::7]}
    assert len(looks) > FEW
    assert to_leave_out(looks, ()) == {}
