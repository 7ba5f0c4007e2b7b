"""What is measured on a device, piece by piece, and the trainings on CamVid among it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.camvid.day_and_dusk import CamVid, evenly, locate
from benchmarks.support import read_json
from pipeline import layout
from pipeline.backtest import take_in
from pipeline.config.params import Params, parse_params
from pipeline.data.ingest import validate_and_stage
from pipeline.metrics.iou import iou_per_class, mean_iou
from pipeline.stages.evaluate import teacher_confusions
from pipeline.training import train_stage

Scale = Literal["full", "small"]
FRACTIONS = {"all": 1.0, "1/8": 1 / 8, "1/30": 1 / 30}
METHODS_TRAINED = ("supervised", "mean_teacher")
DOMAIN = "camvid"
WORK = Path("workspaces/gpu")  # git-ignored: images, checkpoints, networks
# How CamVid is trained, at each scale: 360x480 is seen whole in tiles that are multiples of 32.
TRAINED: Mapping[Scale, Mapping[str, Any]] = {
    "full": {"image": (384, 480), "steps": 4000, "batch": 8, "judged": "test"},
    "small": {"image": (96, 128), "steps": 20, "batch": 4, "judged": "val"},
}
# Adam's usual rate for what starts at random, a tenth for what is pretrained: not tuned.
RATES = {"learning_rate": 1e-3, "encoder_learning_rate": 1e-4}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One figure, or some of one process."""

    kind: Literal["rates", "camvid"]
    method: str
    fraction: str = "all"
    """Of CamVid's official train images, with labels."""

    @property
    def name(self) -> str:
        """For files and commands."""
        if self.kind == "rates":
            return f"rates-{self.method}"
        return f"camvid-{self.fraction.replace('/', '-')}-{self.method}"


PIECES = (
    *(Piece(kind="rates", method=method) for method in METHODS_TRAINED),
    *(
        Piece(kind="camvid", method=method, fraction=fraction)
        for fraction in FRACTIONS
        for method in METHODS_TRAINED
        if fraction != "all" or method == "supervised"
    ),
)


def camvid_piece(piece: Piece, data: Path, device: str, scale: Scale) -> dict[str, Any]:
    """mIoU of DeepLabV3+ on MobileNetV2 after one training; a killed one goes on."""
    camvid, how = locate(data), TRAINED[scale]
    root = WORK / f"{device}-{scale}" / piece.name
    if not (root / layout.MANIFEST).exists():
        lay_out(camvid, piece.fraction, root)
    params = camvid_params(camvid, piece.method, device, scale)
    train_stage("train_teacher", root, params, method_name=piece.method, model=layout.TEACHER)
    confusion_KK = teacher_confusions(root, params, how["judged"])[DOMAIN]
    return {
        "kind": "camvid",
        "method": piece.method,
        "fraction": piece.fraction,
        "labelled": read_json(root / layout.TEACHER_TRAINING)["labelled"],
        "steps": how["steps"],
        "image": "x".join(map(str, how["image"])),
        "judged": how["judged"],
        "miou": mean_iou(iou_per_class(confusion_KK)),
    }


def camvid_params(camvid: CamVid, method: str, device: str, scale: Scale) -> Params:
    """The encoder file as the other CamVid benchmarks take it; sizes and steps of `scale`."""
    how = TRAINED[scale]
    knobs = camvid.settings(seed=0, steps=how["steps"])
    height, width = how["image"]
    image_scale = 1.0 if scale == "full" else 0.25
    changes: dict[str, dict[str, Any]] = {
        "image": {"height_px": height, "width_px": width, "scale": image_scale},
        "model": {**knobs["model"], "name": "deeplabv3plus"},
        "method": {"name": method},
        "train": {
            **knobs["train"],
            **RATES,
            "device": device,
            "precision": "bf16-mixed" if device == "cuda" else "32-true",
            "batch_labelled": how["batch"],
            "batch_unlabelled": how["batch"],
        },
    }
    classes = list(camvid.classes)
    known = {"classes": classes, "domain": DOMAIN, "domains": {DOMAIN: {}}}
    return parse_params({**known, **knobs, **changes})


def lay_out(camvid: CamVid, fraction: str, root: Path) -> None:
    """The official splits, day and dusk together, labels evenly spread; whole or not at all."""
    beside = root.with_name(f"{root.name}.making")
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "root").mkdir(parents=True)
    with (beside / "splits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "split"), *official_rows(camvid, fraction).items()])
    validate_and_stage(
        name=DOMAIN,
        images=camvid.data / "images",
        masks=camvid.masks,
        splits=beside / "splits.csv",
        classes=camvid.classes,
        existing_domains=(),
        destination=beside / "incoming",
    )
    take_in(beside / "root", beside / "incoming" / DOMAIN)
    (beside / "root").rename(root)
    shutil.rmtree(beside)


def official_rows(camvid: CamVid, fraction: str) -> dict[str, str]:
    """`id -> labelled | pool | val | test`."""
    with (camvid.data / "splits.csv").open(newline="") as file:
        known = {row["id"]: row["split"] for row in csv.DictReader(file)}
    train = sorted(stem for stem, split in known.items() if split == "train")
    labelled = set(evenly(train, round(len(train) * FRACTIONS[fraction])))
    return {
        stem: ("labelled" if stem in labelled else "pool") if split == "train" else split
        for stem, split in known.items()
    }
