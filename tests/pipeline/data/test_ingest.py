"""A domain is checked, copied and described, or nothing of it is kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.formats.images import load_image, load_mask
from pipeline.files import sha256_file
from tests.pipeline.data.folders import Folder, ingest, refused, staged
from tests.pipeline.data.pixels import SaveExif


def test_a_folder_without_masks_is_all_pool(folder: Folder) -> None:
    for name in ("b.png", "a.jpg"):
        folder.image(name)
    summary = ingest(folder)
    assert summary.counts == {"labelled": 0, "pool": 2, "val": 0, "test": 0}
    assert str(summary) == "domain day: 2 images (2 pool)"
    rows = staged(folder)
    assert list(rows) == ["day/a", "day/b"]
    assert all(row.unlabelled and not row.origin for row in rows.values())
    assert rows["day/a"].image == "data/day/images/a.jpg"


def test_plain_images_are_stored_byte_for_byte(folder: Folder) -> None:
    sources = [folder.image("a.jpg"), folder.image("b.png"), folder.image("c.JPEG")]
    ingest(folder)
    images = folder.destination / "day" / "images"
    assert sorted(path.name for path in images.iterdir()) == ["a.jpg", "b.png", "c.jpg"]
    for source in sources:
        (stored,) = images.glob(f"{source.stem}.*")
        assert stored.read_bytes() == source.read_bytes()


def test_splits_decide_whose_masks_are_taken(folder: Folder) -> None:
    wanted = {"a": "labelled", "b": "pool", "c": "val", "d": "test"}
    for stem in wanted:
        folder.image(f"{stem}.png")
        folder.mask(f"{stem}.png")
    summary = ingest(folder, splits=folder.splits(wanted))
    assert summary.counts == {"labelled": 1, "pool": 1, "val": 1, "test": 1}
    rows = staged(folder)
    assert [row.split for row in rows.values()] == ["pool", "pool", "val", "test"]
    assert [row.labelled for row in rows.values()] == [True, False, False, False]
    origins = [row.origin for row in rows.values()]
    assert origins == ["ground_truth", "", "ground_truth", "ground_truth"]
    masks = folder.destination / "day" / "masks"
    assert sorted(path.name for path in masks.iterdir()) == ["a.png", "c.png", "d.png"]


def test_without_splits_what_has_a_mask_is_labelled(folder: Folder) -> None:
    for stem in "ab":
        folder.image(f"{stem}.png")
    folder.mask("b.png")
    assert ingest(folder).counts == {"labelled": 1, "pool": 1, "val": 0, "test": 0}
    assert staged(folder)["day/b"].labelled


def test_the_manifest_has_the_hashes_of_the_stored_files(folder: Folder) -> None:
    folder.image("a.png").rename(folder.images / "a.bmp.png")
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(folder.images / "grey.png")
    folder.mask("grey.png")
    ingest(folder)
    for row in staged(folder).values():
        for name, expected in ((row.image, row.image_sha256), (row.mask, row.mask_sha256)):
            if name:
                stored = folder.destination / Path(name).relative_to("data")
                assert sha256_file(stored) == expected


def test_unusual_images_become_eight_bit_rgb_png(folder: Folder, save_exif: SaveExif) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(grey).save(folder.images / "grey.png")
    Image.fromarray(grey, "P").save(folder.images / "palette.gif")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder.images / "deep.tiff")
    Image.fromarray(np.dstack([grey] * 4)).save(folder.images / "alpha.png")
    save_exif(np.dstack([grey] * 3), folder.images / "turned.jpg", 6)
    summary = ingest(folder)
    assert summary.converted == 5
    assert [note.split("/")[-1] for note in summary.notes] == ["alpha.png: alpha dropped"]
    assert "warning: " in str(summary)
    for path in (folder.destination / "day" / "images").iterdir():
        assert path.suffix == ".png"
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert not image.getexif()
            assert image.size == ((6, 8) if path.stem == "turned" else (8, 6))
    deep = load_image(folder.destination / "day" / "images" / "deep.png")
    assert np.array_equal(deep[:, :, 0], grey)


def test_palette_masks_are_stored_as_indices(folder: Folder) -> None:
    folder.image("a.png")
    indices = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
    paletted = Image.fromarray(indices, "P")
    paletted.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    paletted.save(folder.masks / "a.png")
    ingest(folder)
    stored = folder.destination / "day" / "masks" / "a.png"
    assert np.array_equal(load_mask(stored, 3), indices)
    with Image.open(stored) as image:
        assert image.mode == "L"


def test_a_mask_must_fit_the_upright_image(folder: Folder, save_exif: SaveExif) -> None:
    save_exif(np.zeros((6, 8, 3), np.uint8), folder.images / "a.jpg", 6)
    folder.mask("a.png", height=6, width=8)
    message = refused(folder)
    assert "a.png: 8x6, expected the 6x8 of a.jpg (after its EXIF rotation)" in message
    folder.mask("a.png", height=8, width=6)
    ingest(folder)


def test_pool_images_that_no_label_helps_are_kept_but_left_out(folder: Folder) -> None:
    for stem in ("a", "b"):
        folder.image(f"{stem}.png", height=32, width=32)
    shutil.copy(folder.images / "b.png", folder.images / "c.png")
    Image.open(folder.images / "b.png").save(folder.images / "d.bmp")  # other bytes, same pixels
    for stem in ("blank", "labelled"):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder.images / f"{stem}.png")
    folder.mask("labelled.png", height=32, width=32)
    summary = ingest(folder)
    assert summary.counts == {"labelled": 1, "pool": 5, "val": 0, "test": 0}
    assert summary.left_out == {
        "day/blank": "duplicate: the same pixels as labelled",
        "day/c": "duplicate: the same pixels as b",
        "day/d": "duplicate: the same pixels as b",
    }
    assert "day/c: duplicate: the same pixels as b" in str(summary)
    rows = staged(folder)
    assert {name: row.left_out for name, row in rows.items() if row.left_out} == summary.left_out
    assert [name for name, row in rows.items() if row.unlabelled] == ["day/a", "day/b"]
    assert len([*(folder.destination / "day/images").iterdir()]) == 6  # nothing is lost


def test_a_pool_image_that_is_a_test_image_too_is_left_out(folder: Folder) -> None:
    folder.image("z.png")
    shutil.copy(folder.images / "z.png", folder.images / "a.png")
    folder.mask("z.png")
    summary = ingest(folder, splits=folder.splits({"z": "test", "a": "pool"}))
    assert summary.left_out == {"day/a": "duplicate: the same pixels as z"}


def test_all_is_kept_where_a_person_says_so(folder: Folder) -> None:
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder.images / "blank.png")
    summary = ingest(folder, keep_all=True)
    assert summary.left_out == {}
    assert "left out" not in str(summary)
    assert staged(folder)["day/blank"].unlabelled


@pytest.mark.programs
def test_ingest_starts_without_torch() -> None:
    code = "import sys, pipeline.data.ingest, pipeline.data.formats; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


@pytest.mark.data
def test_camvid_is_taken_in(folder: Folder) -> None:
    data = os.environ.get("SSL_LOOP_DATA")
    if not data:
        pytest.skip("SSL_LOOP_DATA does not say where the public data sets are")
    from pipeline.data.formats import FORMATS, read_classes

    source = FORMATS["folder"](Path(data) / "camvid")
    assert source.classes
    assert source.masks
    classes = read_classes(source.classes)
    assert len(classes) == 11
    stems = sorted(path.stem for path in source.images.iterdir())[::35]
    for stem in stems:
        (folder.images / f"{stem}.jpg").symlink_to(source.images / f"{stem}.jpg")
    splits = dict(zip(stems, ["labelled", "pool", "val"] * len(stems), strict=False))
    summary = ingest(
        folder, masks=source.masks, splits=folder.splits(splits), classes=classes, accept=True
    )
    assert summary.num_images == len(stems) > 15
    assert summary.converted == 0
    rows = list(staged(folder).values())
    assert sum(row.labelled for row in rows) == summary.counts["labelled"]
    for row in rows:
        assert not (folder.destination / Path(row.image).relative_to("data")).is_symlink()
