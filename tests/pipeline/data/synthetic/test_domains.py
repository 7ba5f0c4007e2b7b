import csv
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.formats import FORMATS, read_classes, read_splits
from pipeline.data.synthetic.domains import CLASSES, DOMAINS, make_domain
from pipeline.errors import DataError

SIZE = {"height_px": 48, "width_px": 64}


def files(root: Path) -> dict[str, bytes]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def made(out: Path, name: str = "day", *, seed: int = 0, **counts: int) -> Path:
    make_domain(
        name, out, **{"num_labelled": 1, "num_pool": 2, "num_val": 1, **counts}, seed=seed, **SIZE
    )
    return out


def test_same_seed_same_bytes_other_seed_other_scenes(tmp_path: Path) -> None:
    first = files(made(tmp_path / "a", seed=3))
    assert first == files(made(tmp_path / "b", seed=3))
    other = files(made(tmp_path / "c", seed=4))
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if name.startswith("images"))


def test_every_scene_has_random_numbers_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    def record(
        _: object, rng: np.random.Generator, *, height_px: int, width_px: int
    ) -> tuple[np.ndarray, np.ndarray]:
        drawn.append(float(rng.random()))
        size = (height_px, width_px)
        return np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)

    monkeypatch.setattr("pipeline.data.synthetic.domains.draw_scene", record)
    for name in DOMAINS:
        for seed in (0, 1):
            made(tmp_path / f"{name}{seed}", name, seed=seed, num_labelled=2, num_test=2)
    assert len(drawn) == 4 * 7
    assert len(set(drawn)) == len(drawn)


def test_more_of_one_split_leaves_the_scenes_of_the_others(tmp_path: Path) -> None:
    few = files(made(tmp_path / "few", num_pool=2))
    many = files(made(tmp_path / "many", num_pool=3))
    assert few["images/street_0003.png"] == many["images/street_0004.png"]  # the val image


def test_folder_is_a_source_with_the_counts_asked_for(tmp_path: Path) -> None:
    out = made(tmp_path / "day", num_labelled=2, num_pool=3, num_val=1, num_test=1)
    source = FORMATS["folder"](out)
    assert source.classes
    assert source.splits
    assert read_classes(source.classes) == CLASSES
    splits = list(read_splits(source.splits).values())
    assert splits == ["labelled"] * 2 + ["pool"] * 3 + ["val", "test"]
    with source.splits.open() as file:
        stems = [row["id"] for row in csv.DictReader(file)]
    for folder in (source.images, source.masks):
        assert folder
        assert sorted(path.stem for path in folder.iterdir()) == stems


@pytest.mark.parametrize("name", DOMAINS)
def test_masks_hold_every_class_at_very_different_frequency(tmp_path: Path, name: str) -> None:
    out = made(tmp_path, name, num_pool=20)
    counts = np.zeros(256, np.int64)
    for path in (out / "masks").iterdir():
        mask = np.asarray(Image.open(path))
        assert mask.shape == (48, 64)
        assert Image.open(out / "images" / path.name).size == (64, 48)
        counts += np.bincount(mask.ravel(), minlength=256)
    assert counts[len(CLASSES) :].sum() == 0
    shares = counts[: len(CLASSES)] / counts.sum()
    assert len(CLASSES) >= 6
    assert (shares > 0.003).all(), dict(zip(CLASSES, shares, strict=True))
    assert shares.max() > 10 * shares.min()


def test_dusk_is_darker_and_noisier_than_day(tmp_path: Path) -> None:
    light, grain = {}, {}
    for name in DOMAINS:
        paths = sorted((made(tmp_path / name, name, num_pool=12) / "images").iterdir())
        pixels = np.stack([np.asarray(Image.open(path), np.float32) for path in paths])
        light[name] = pixels.mean()
        grain[name] = np.abs(np.diff(pixels[:, 34:], axis=2)).mean()  # on the road
    assert light["dusk"] < 0.75 * light["day"]
    assert grain["dusk"] > grain["day"]


def test_drawing_is_fast(tmp_path: Path) -> None:
    started = time.process_time()
    make_domain("dusk", tmp_path, num_labelled=0, num_pool=8, num_val=0)
    # 60 images at 96x128 in 10 s of a busy machine's time at worst.
    assert time.process_time() - started < 8 * 10 / 60


def test_progress_counts_to_the_total(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make_domain(
        "day",
        tmp_path,
        num_labelled=1,
        num_pool=1,
        num_val=0,
        progress=lambda done, total: told.append((done, total)),
        **SIZE,
    )
    assert told == [(1, 2), (2, 2)]


def test_unknown_domain_and_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'fog'.*day, dusk"):
        made(tmp_path / "x", "fog")
    with pytest.raises(DataError, match="at least one image"):
        made(tmp_path / "x", num_labelled=0, num_pool=0, num_val=0)
    with pytest.raises(DataError, match="-1"):
        made(tmp_path / "x", num_pool=-1)
    assert not (tmp_path / "x").exists()
