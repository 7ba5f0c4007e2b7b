"""Every row of EXPORTS: read back by plain readers of each format, pixel by pixel."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from ruamel.yaml import YAML

from flows.cli.outside.export_data_command import FORMATS
from pipeline.data.exports import EXPORTS, ExportSet, export_set
from pipeline.data.exports.pascal_voc import voc_palette
from pipeline.data.exports.rle import rle_counts
from pipeline.data.exports.yolo_seg import filled, outlines_of
from pipeline.data.formats.images import load_image, save_mask
from pipeline.errors import DataError
from pipeline.records.manifest import Sample

CLASSES = ("road", 'car: "big", red', "sky")
SIZE = (23, 31)
Masks = dict[str, np.ndarray]


def blobs(seed: int) -> np.ndarray:
    """Large parts with holes, thin lines, single pixels and ignored ones."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("L", (SIZE[1], SIZE[0]), 2)
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((2, 2, 22, 20), fill=0)
    draw.ellipse((8, 6, 14, 12), fill=1)  # in a hole of the road
    draw.point((10, 8), fill=2)  # in a hole of the car
    draw.line((25, 0, 30, 22), fill=1)
    mask_HW = np.array(canvas, dtype=np.uint8)
    mask_HW[tuple(rng.integers(0, side, 5) for side in SIZE)] = 255
    return mask_HW


@pytest.fixture
def data(tmp_path: Path) -> ExportSet:
    rng = np.random.default_rng(0)
    samples = []
    for number, split in enumerate(["pool", "pool", "val", "test", "pool"]):
        stem, masked = f"s{number}", number != 4
        suffix = ".jpg" if number == 1 else ".png"
        (tmp_path / "w").mkdir(exist_ok=True)
        image_HWC = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(image_HWC).save(tmp_path / f"w/{stem}{suffix}")
        if masked:
            save_mask(tmp_path / f"w/{stem}_mask.png", blobs(number))
        samples.append(
            Sample(
                sample_id=f"day/{stem}",
                domain="day",
                split=split,  # type: ignore[arg-type]
                image=f"w/{stem}{suffix}",
                image_sha256="",
                mask=f"w/{stem}_mask.png" if masked else "",
            )
        )
    return export_set(CLASSES, samples, lambda path: tmp_path / path)


def expected(data: ExportSet) -> Masks:
    return {sample.name: sample.mask_HW(len(CLASSES)) for sample in data.masked}


def read_index_png(out: Path) -> Masks:
    with (out / "splits.csv").open() as file:
        rows = list(csv.DictReader(file))
    words = ["labelled", "labelled", "val", "test", "pool"]
    assert [(row["id"], row["split"]) for row in rows] == [
        (f"s{n}", w) for n, w in enumerate(words)
    ]
    with (out / "classes.csv").open() as file:
        assert tuple(row["name"] for row in csv.DictReader(file)) == CLASSES
    return {path.stem: np.asarray(Image.open(path)) for path in (out / "masks").iterdir()}


def read_coco(out: Path) -> Masks:
    """Run lengths painted one by one, as maskApi.h describes them."""
    masks: Masks = {}
    for split in ("train", "val", "test", "unlabelled"):
        found = json.loads((out / f"annotations/{split}.json").read_text())
        assert tuple(each["name"] for each in found["categories"]) == CLASSES
        images = {each["id"]: each for each in found["images"]}
        assert all((out / "images" / each["file_name"]).exists() for each in found["images"])
        if split == "unlabelled":
            assert found["annotations"] == []
            continue
        assert [each["id"] for each in found["annotations"]] == list(
            range(1, len(found["annotations"]) + 1)
        )
        for each in found["annotations"]:
            image = images[each["image_id"]]
            height, width = each["segmentation"]["size"]
            assert (height, width) == (image["height"], image["width"]) == SIZE
            stem = Path(image["file_name"]).stem
            mask_HW = masks.setdefault(stem, np.full(SIZE, 255, np.uint8))
            place, value, painted = 0, 0, []
            for count in each["segmentation"]["counts"]:
                for number in range(place, place + count):
                    if value:
                        painted.append((number % height, number // height))
                place, value = place + count, 1 - value
            assert place == height * width
            for row, column in painted:
                assert mask_HW[row, column] == 255, "in two annotations"
                mask_HW[row, column] = each["category_id"] - 1
            rows, columns = [p[0] for p in painted], [p[1] for p in painted]
            box = [min(columns), min(rows), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert (each["area"], each["bbox"]) == (len(painted), box)
    return masks


def read_pascal_voc(out: Path) -> Masks:
    listed = {
        split: (out / f"ImageSets/Segmentation/{split}.txt").read_text().split()
        for split in ("train", "val", "test", "unlabelled")
    }
    assert listed == {"train": ["s0", "s1"], "val": ["s2"], "test": ["s3"], "unlabelled": ["s4"]}
    assert tuple((out / "labels.txt").read_text().splitlines()) == CLASSES
    masks = {}
    for path in (out / "SegmentationClass").iterdir():
        with Image.open(path) as image:
            assert image.mode == "P"
            masks[path.stem] = np.asarray(image)
            assert image.getpalette()[:6] == [0, 0, 0, 128, 0, 0]  # type: ignore[index]
    return masks


def read_yolo_seg(out: Path) -> Masks:
    """Polygons painted in order by Pillow, not by what wrote them."""
    said = YAML(typ="safe").load((out / "data.yaml").read_text())
    assert tuple(said["names"]) == CLASSES
    assert all(said[split] == f"images/{split}" for split in ("train", "val", "test"))
    masks = {}
    for path in out.glob("labels/*/*.txt"):
        assert list((out / "images" / path.parent.name).glob(f"{path.stem}.*"))
        canvas = Image.new("L", (SIZE[1], SIZE[0]), 255)
        for line in path.read_text().splitlines():
            index, *shares = line.split()
            corners = np.array(shares, dtype=float).reshape(-1, 2) * (SIZE[1], SIZE[0])
            assert len(corners) >= 3
            points = [(int(x), int(y)) for x, y in corners]  # readers cut off
            ImageDraw.Draw(canvas).polygon(points, fill=int(index), outline=int(index))
        masks[path.stem] = np.asarray(canvas)
    return masks


READERS: dict[str, Callable[[Path], Masks]] = {
    "index-png": read_index_png,
    "coco": read_coco,
    "pascal-voc": read_pascal_voc,
    "yolo-seg": read_yolo_seg,
}


def test_every_row_has_a_reader_and_is_offered() -> None:
    assert set(READERS) == set(EXPORTS) == set(FORMATS)


@pytest.mark.parametrize("name", EXPORTS)
def test_masks_come_back(name: str, data: ExportSet, tmp_path: Path) -> None:
    told = 0

    def advance() -> None:
        nonlocal told
        told += 1

    row = EXPORTS[name]
    lost = row.build(data, tmp_path / "out", advance)
    assert told == len(data.samples)
    found, true = READERS[name](tmp_path / "out"), expected(data)
    assert set(found) == set(true)
    if row.lossless:
        assert lost == {}
        for stem, mask_HW in true.items():
            np.testing.assert_array_equal(found[stem], mask_HW)
        return
    for index, class_name in enumerate(CLASSES):
        known = [(found[s][m != 255] == index, m[m != 255] == index) for s, m in true.items()]
        both = sum(int((one & other).sum()) for one, other in known)
        union = sum(int((one | other).sum()) for one, other in known)
        assert lost[class_name] == pytest.approx(both / union, abs=1e-6)
        assert both / union > 0.9


@pytest.mark.parametrize("name", EXPORTS)
def test_images_are_the_same_files(name: str, data: ExportSet, tmp_path: Path) -> None:
    EXPORTS[name].build(data, tmp_path / "out", lambda: None)
    out = tmp_path / "out"
    splits = ("train", "val", "test", "unlabelled")
    folders = ("images", "JPEGImages", *(f"images/{split}" for split in splits))
    there = {path.stem: path for folder in folders for path in (out / folder).glob("s?.*")}
    for sample in data.samples:
        assert there[sample.name].read_bytes() == sample.image.read_bytes()
        np.testing.assert_array_equal(load_image(there[sample.name]), load_image(sample.image))


@pytest.mark.parametrize(
    ("bits", "counts"),
    [("0011101", [2, 3, 1, 1]), ("1111110", [0, 6, 1]), ("0000", [4]), ("11", [0, 2])],
)
def test_run_lengths_as_published(bits: str, counts: list[int]) -> None:
    """The examples of COCO's maskApi.h, then the ends of the range."""
    mask_HW = np.array([[bit == "1"] for bit in bits])
    assert rle_counts(mask_HW) == counts


def test_run_lengths_go_column_by_column() -> None:
    assert rle_counts(np.array([[False, True], [True, True]])) == [1, 3]
    assert rle_counts(np.array([[True, False], [True, False]])) == [0, 2, 2]


@pytest.mark.parametrize(
    ("index", "colour"),
    [
        (1, (128, 0, 0)),
        (2, (0, 128, 0)),
        (15, (192, 128, 128)),
        (20, (0, 64, 128)),
        (255, (224, 224, 192)),
    ],
)
def test_the_palette_is_vocs(index: int, colour: tuple[int, int, int]) -> None:
    """aeroplane, bicycle, person, tv monitor and void of the challenge."""
    assert tuple(voc_palette()[3 * index : 3 * index + 3]) == colour


def test_parts_in_holes_of_parts_lose_nothing() -> None:
    mask_HW = np.full((40, 50), 2, np.uint8)
    mask_HW[5:35, 5:40] = 0
    mask_HW[10:30, 10:30] = 1
    mask_HW[15:18, 15] = 2
    mask_HW[20, 20] = 0
    np.testing.assert_array_equal(filled(outlines_of(mask_HW, 3), mask_HW.shape), mask_HW)


def test_two_images_of_one_name_are_refused() -> None:
    samples = [
        Sample(
            sample_id=f"{domain}/{stem}", domain=domain, split="pool", image="a", image_sha256=""
        )
        for domain, stem in (("a", "b_c"), ("a_b", "c"))
    ]
    with pytest.raises(DataError, match=r"a_b_c: the name of two images.*--domain"):
        export_set(CLASSES, samples, Path)
