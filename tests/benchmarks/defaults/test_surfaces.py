"""What is drawn has the sizes it says, is where the mask says, and is the same again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.defaults import surfaces
from benchmarks.defaults.surfaces import CRACK, DISC, draw_surface, make_surfaces
from pipeline.planning.data_fingerprint import component_widths


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return draw_surface(np.random.default_rng(3), 540, 960)


def test_discs_and_cracks_are_as_wide_as_they_say(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    mask_HW = drawn[1]
    assert set(np.unique(mask_HW)) == set(range(len(surfaces.CLASSES)))
    whole = np.median([area for area, _ in component_widths(mask_HW == DISC)])
    assert whole == pytest.approx(np.pi / 4 * surfaces.DISC_PX**2, rel=0.05)
    areas, widths = zip(*component_widths(mask_HW == CRACK), strict=True)
    assert max(areas) > 100
    assert np.median(widths) <= 3
    assert (mask_HW == CRACK).mean() < 0.02


def test_cracks_are_darker_than_what_is_beside_them(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    image_HW, mask_HW = drawn[0].mean(axis=2), drawn[1]
    crack_HW = mask_HW == CRACK
    beside_HW = ~crack_HW & np.roll(crack_HW, 6, axis=0)
    assert image_HW[crack_HW].mean() < 0.75 * image_HW[beside_HW].mean()


def test_equal_seeds_give_equal_bytes_and_splits_share_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surfaces, "draw_surface", lambda rng: draw_surface(rng, 64, 96))
    for name, num_train in (("one", 3), ("again", 3), ("fewer", 2)):
        make_surfaces(tmp_path / name, num_train=num_train, num_test=2)
    files = [sorted((tmp_path / name).rglob("*.*")) for name in ("one", "again")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    images = [path.read_bytes() for path in sorted((tmp_path / "one/images").iterdir())]
    assert len(set(images)) == 5
    fewer = [path.read_bytes() for path in sorted((tmp_path / "fewer/images").iterdir())]
    assert fewer[:2] == images[:2]
    with (tmp_path / "one/splits.csv").open(newline="") as file:
        splits = [row["split"] for row in csv.DictReader(file)]
    assert splits == ["train"] * 3 + ["test"] * 2
