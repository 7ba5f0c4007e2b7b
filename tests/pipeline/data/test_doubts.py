"""What looks like a mistake is named before anything is staged; a person may accept it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import layout
from pipeline.data.formats.images import load_image
from pipeline.data.known_images import KnownImages
from pipeline.data.quality import pixels_sha256
from pipeline.records.manifest import read_manifest, write_manifest
from tests.pipeline.data.folders import Folder, ingest, refused, staged

TWO = ("background", "object")


def painted(folder: Folder, stem: str, *values: int) -> None:
    """An image and its mask: `values` in stripes, as many pixels of each."""
    folder.image(f"{stem}.png", height=6, width=6 * len(values))
    mask_HW = np.repeat(np.array(values, np.uint8), 6)[None].repeat(6, axis=0)
    Image.fromarray(mask_HW).save(folder.masks / f"{stem}.png")


@pytest.mark.parametrize(
    ("values", "classes", "words"),
    [
        ((0, 255), TWO, ["one class alone, background (0); 50% of their pixels are 255 = ignore",
                         "no pixel is object (1).", "write its index"]),
        ((0, 255), ("sky", "road", "car"), ["one class alone, sky (0)", "road (1) or car (2)"]),
        ((0,), TWO, ["one class alone, background (0); 0% of their pixels", "no pixel is object"]),
        ((1,), TWO, ["one class alone, object (1)", "no pixel is background (0)"]),
        ((255,), TWO, ["no class at all; 100% of their pixels are 255 = ignore"]),
    ],
)  # fmt: skip
def test_masks_of_one_class_are_refused_by_name(
    folder: Folder, values: tuple[int, ...], classes: tuple[str, ...], words: list[str]
) -> None:
    for stem in "abc":
        painted(folder, stem, *values)
    message = refused(folder, classes=classes)
    assert message.startswith("domain day: 1 thing(s) look like a mistake, and nothing was")
    assert "the 3 masks together show" in message
    assert "say --accept" in message
    for word in words:
        assert word in message
    assert "nobody knows" not in message or 255 in values
    summary = str(ingest(folder, classes=classes, accept=True))
    assert "(3 labelled)" in summary
    assert "warning: accepted: the 3 masks together show" in summary


def test_a_rare_class_may_be_missing(folder: Folder) -> None:
    painted(folder, "a", 0, 1)
    painted(folder, "b", 0, 1, 255)
    summary = str(ingest(folder))
    assert "warning: no pixel of the 2 masks is rim (2), so nothing can be learnt" in summary


def test_a_class_that_val_does_not_have_is_said(folder: Folder) -> None:
    painted(folder, "a", 0, 1, 2)
    painted(folder, "b", 0, 1)
    splits = folder.splits({"a": "labelled", "b": "val"})
    summary = str(ingest(folder, splits=splits))
    assert "no pixel of the 1 val masks is rim (2): there its IoU is not yet measurable" in summary


def test_masks_of_two_makers_are_said(folder: Folder) -> None:
    painted(folder, "a", 0, 1)
    painted(folder, "b", 0, 255)
    summary = str(ingest(folder, classes=TWO))
    assert "masks that hold 255 beside one class at most: b. 255 means that nobody" in summary


def copied(folder: Folder, stem: str, of: str) -> None:
    """The same pixels in another file."""
    Image.open(folder.images / f"{of}.png").save(folder.images / f"{stem}.tif")
    folder.mask(f"{stem}.png")


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_teaches_and_judges_is_refused(folder: Folder, split: str) -> None:
    for stem in ("a", "c"):
        folder.image(f"{stem}.png")
        folder.mask(f"{stem}.png")
    copied(folder, "b", "a")
    splits = folder.splits({"a": "labelled", "b": split, "c": "labelled"})
    message = refused(folder, splits=splits)
    assert f"the same pixels teach and judge, or judge twice: a (labelled), b ({split})" in message
    summary = ingest(folder, splits=splits, accept=True)
    assert summary.counts["labelled"] == 2


def test_what_is_labelled_twice_is_said(folder: Folder) -> None:
    folder.image("a.png")
    folder.mask("a.png")
    copied(folder, "b", "a")
    assert "so they count twice: a (labelled), b (labelled)" in str(ingest(folder))


def known(folder: Folder, splits: dict[str, str]) -> KnownImages:
    """A workspace that has the folder's images as `day`, by a manifest alone."""
    summary = ingest(folder, splits=folder.splits(splits))
    assert summary.num_images == len(splits)
    root = folder.root / "workspace"
    rows = read_manifest(folder.destination / "day" / "samples.csv")
    (root / "data").mkdir(parents=True)
    (folder.destination / "day").rename(root / "data" / "day")
    write_manifest(root / layout.MANIFEST, rows)
    return KnownImages(root)


@pytest.fixture
def day(folder: Folder) -> KnownImages:
    for stem in "abc":
        folder.image(f"{stem}.png")
        folder.mask(f"{stem}.png")
    found = known(folder, {"a": "val", "b": "labelled", "c": "pool"})
    for stem in "abc":
        (folder.images / f"{stem}.png").rename(folder.images / f"new_{stem}.png")
        (folder.masks / f"{stem}.png").rename(folder.masks / f"new_{stem}.png")
    folder.image("other.png")
    folder.mask("other.png")
    return found


def test_val_images_that_another_domain_labels_are_refused(
    folder: Folder, day: KnownImages
) -> None:
    options = {"name": "dusk", "known": day}
    message = refused(folder, **options)
    assert "new_a (labelled) has the same pixels as day/a (val): it would judge" in message
    assert "day/b" not in message
    summary = str(ingest(folder, accept=True, **options))
    assert "accepted: new_a (labelled)" in summary
    assert "new_b (labelled) has the same pixels as day/b (labelled)" in summary


def test_pool_images_that_are_known_are_left_out(folder: Folder, day: KnownImages) -> None:
    splits = dict.fromkeys(["new_a", "new_b", "new_c"], "pool") | {"other": "labelled"}
    options = {"name": "dusk", "known": day, "splits": folder.splits(splits)}
    summary = ingest(folder, **options)
    assert summary.left_out == {
        f"dusk/new_{stem}": f"duplicate: the same pixels as day/{stem}" for stem in "abc"
    }
    assert staged(folder, "dusk")["dusk/new_b"].left_out


def test_new_val_images_that_the_pool_has_are_refused(folder: Folder, day: KnownImages) -> None:
    splits = dict.fromkeys(["new_b", "new_c"], "val") | dict.fromkeys(["new_a", "other"], "pool")
    message = refused(folder, name="dusk", known=day, splits=folder.splits(splits))
    assert "new_b (val) has the same pixels as day/b (labelled)" in message
    assert "new_c (val) has the same pixels as day/c (pool)" in message


def test_the_same_folder_twice_is_refused(folder: Folder, day: KnownImages) -> None:
    (folder.images / "other.png").unlink()
    message = refused(folder, name="dusk", known=day, masks=None)
    assert "every image is in day already" in message


def test_a_domain_that_waits_is_known_too(folder: Folder) -> None:
    for stem in "ab":
        folder.image(f"{stem}.png")
        folder.mask(f"{stem}.png")
    root = folder.root / "workspace"
    options = {"destination": root / layout.INCOMING, "known": KnownImages(root)}
    ingest(folder, splits=folder.splits({"a": "val", "b": "labelled"}), **options)
    folder.image("other.png")
    (folder.masks / "b.png").unlink()
    summary = ingest(folder, name="dusk", accept=True, **options)
    assert list(summary.left_out) == ["dusk/b"]
    assert any("a (labelled) has the same pixels as day/a (val)" in n for n in summary.notes)


def test_pixels_are_hashed_once_and_a_damaged_memory_is_made_again(
    folder: Folder, day: KnownImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = load_image(folder.images / "new_a.png").shape[1::-1]
    assert day.by_pixels({(1, 1)}) == {}
    found = day.by_pixels({size})
    digest = pixels_sha256(load_image(folder.images / "new_a.png"))
    assert [sample.sample_id for sample in found[digest]] == ["day/a"]
    memory = folder.root / "workspace" / layout.PIXELS
    monkeypatch.setattr("pipeline.data.known_images.load_image", None)
    assert day.by_pixels({size}) == found
    monkeypatch.undo()
    for text in ("[1]", "{", '{"a": 1}', "\udcff"):
        memory.write_text(text, errors="surrogateescape")
        assert day.by_pixels({size}) == found


def test_files_that_are_not_on_this_machine_are_passed_over(
    folder: Folder, day: KnownImages
) -> None:
    size = load_image(folder.images / "new_a.png").shape[1::-1]
    (folder.root / "workspace" / "data/day/images/a.png").unlink()
    ids = {s.sample_id for those in day.by_pixels({size}).values() for s in those}
    assert ids == {"day/b", "day/c"}


def test_the_memory_is_by_the_files_as_they_are_stored(folder: Folder) -> None:
    root = folder.root / "workspace"
    folder.image("a.tif")  # stored as PNG
    ingest(folder, known=KnownImages(root), destination=root / layout.INCOMING)
    (stored,) = (root / layout.INCOMING / "day" / "images").iterdir()
    assert stored.suffix == ".png"
    digest = pixels_sha256(load_image(Path(stored)))
    assert f'"{digest}"' in (root / layout.PIXELS).read_text()
