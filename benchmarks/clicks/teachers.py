"""Workspaces with a teacher of few labels: CamVid, and the synthetic streets of the demo."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.camvid.day_and_dusk import evenly, locate
from flows.demo.demo_settings import ENCODER, WEIGHTS
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import Params, parse_params
from pipeline.data.formats.images import image_size
from pipeline.data.ingest import validate_and_stage
from pipeline.data.synthetic.domains import CLASSES, make_domain
from pipeline.models import save_untrained
from pipeline.records.manifest import Sample, read_manifest
from pipeline.training import train_stage
from pipeline.training.probes.probe_choice import probe_params

NUM_LABELLED = 12
NUM_VAL = 40


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Images and masks that lie somewhere else."""

    images: Sequence[Path]
    masks: Path
    classes: Sequence[str]
    splits: Mapping[str, str]


def camvid_workspace(data: Path, root: Path, num_labelled: int = NUM_LABELLED) -> Params:
    """CamVid's train images, `num_labelled` of them with their masks, and a probe of these.

    Official train alone; of the rest every one may be asked for. 0 labels: no teacher.
    """
    camvid = locate(data)
    with (camvid.data / "splits.csv").open(newline="") as file:
        train = sorted(row["id"] for row in csv.DictReader(file) if row["split"] == "train")
    labelled = evenly(train, num_labelled)
    asked = [stem for stem in evenly(train, NUM_VAL + num_labelled) if stem not in labelled]
    splits = dict.fromkeys(labelled, "labelled") | dict.fromkeys(asked[:NUM_VAL], "val")
    params = parse_params(
        {
            "classes": list(camvid.classes),
            "domain": "camvid",
            "domains": {"camvid": {}},
            **{key: camvid.settings(seed=0, steps=1)[key] for key in ("model", "embed")},
        }
    )
    images = [next((camvid.data / "images").glob(f"{stem}.*")) for stem in splits]
    return _made(
        root,
        params,
        _Source(images=images, masks=camvid.masks, classes=camvid.classes, splits=splits),
    )


def synthetic_workspace(
    root: Path, num_labelled: int = NUM_LABELLED, size: tuple[int, int] = (96, 128)
) -> Params:
    """Streets by day with the demo's encoder, and a probe of `num_labelled`."""
    encoder = {"encoder": ENCODER, "encoder_weights": str(WEIGHTS)}
    params = parse_params(
        {
            "classes": list(CLASSES),
            "domain": "day",
            "domains": {"day": {}},
            "model": encoder,
            "embed": encoder,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        truth = Path(folder)
        make_domain(
            "day",
            truth,
            num_labelled=num_labelled,
            num_pool=0,
            num_val=NUM_VAL,
            height_px=size[0],
            width_px=size[1],
        )
        with (truth / "splits.csv").open(newline="") as file:
            splits = {row["id"]: row["split"] for row in csv.DictReader(file)}
        images = sorted((truth / "images").iterdir())
        return _made(
            root,
            params,
            _Source(images=images, masks=truth / "masks", classes=CLASSES, splits=splits),
        )


def asked_samples(root: Path) -> list[Sample]:
    """Those that no teacher learnt from."""
    return [sample for sample in read_manifest(root / layout.MANIFEST) if sample.split == "val"]


def _made(root: Path, params: Params, source: _Source) -> Params:
    """The workspace at `root`, unless it is there already."""
    (domain,) = params.domains
    if not (root / layout.MANIFEST).exists():
        shutil.rmtree(root, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=root.parent) as folder:
            _stage(domain, source, Path(folder))
            take_in(Path(folder) / "root", Path(folder) / "incoming" / domain)
            (Path(folder) / "root").rename(root)
    samples = read_manifest(root / layout.MANIFEST)
    params = probe_params(params, image_size(root / samples[0].image))
    if not (root / layout.TEACHER / "config.json").exists():
        if any(sample.labelled for sample in samples):
            train_stage(
                "train_teacher", root, params, method_name="supervised", model=layout.TEACHER
            )
        else:
            save_untrained(root / layout.TEACHER, why="no label yet")
    return params


def _stage(domain: str, source: _Source, folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "root").mkdir()
    for image in source.images:
        shutil.copyfile(image, folder / "images" / image.name)
    with (folder / "splits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "split"), *source.splits.items()])
    validate_and_stage(
        name=domain,
        images=folder / "images",
        masks=source.masks,
        splits=folder / "splits.csv",
        classes=source.classes,
        existing_domains=(),
        destination=folder / "incoming",
    )
