"""Stage predict: the teacher's pseudo-labels, confidence and uncertainty for the current domain.

K classes, H height, W width.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from pipeline import layout
from pipeline.config import Params
from pipeline.cost import shape_of
from pipeline.data.datasets import ImageStore
from pipeline.data.formats.images import save_mask
from pipeline.data.manifest import Sample, check_files, read_manifest
from pipeline.files import replacing
from pipeline.inference import image_size, logits_of, pick_device, resize_logits
from pipeline.models import load_model
from pipeline.progress import Progress, say
from pipeline.regions import Grid

FOLDERS = (layout.PSEUDO_LABELS, layout.CONFIDENCE, layout.UNCERTAINTY)
ROWS_PX = 256  # rows scored at once: an image of 12 megapixels and 20 classes stays below 1 GiB
COLUMNS = {
    "sample_id": "str",
    "domain": "str",
    "labelled": "bool",
    "entropy": "float64",
    "mean_entropy": "float64",
    "mean_confidence": "float64",
    "reliable_share": "float64",
    "boundary": "float64",
    "regions": "int64",
}


class Prediction(NamedTuple):
    """What the teacher says about every pixel of one image."""

    classes_HW: Tensor
    """uint8 class indices."""
    confidence_HW: Tensor
    """Largest probability, in [1/K, 1]."""
    entropy_HW: Tensor
    """Shannon entropy over log K, in [0, 1]."""
    entropy_K: Tensor
    """Mean over the pixels of entropy times each class's probability; sums up to the mean entropy
    (the class-stratified entropy of ClaSP PE, 2026)."""


def run(root: Path, params: Params) -> None:
    """Write predictions/scores.parquet and the PNGs of every pool sample of the current domain.

    One row per sample, or per region where people are asked for regions.
    Without a trained teacher the table and the folders are empty.
    """
    _empty_folders(root)
    model = load_model(root / layout.TEACHER)
    samples = read_manifest(root / layout.MANIFEST)
    pool = [s for s in samples if s.split == "pool" and s.domain == params.domain]
    if not model.trained:
        say("predict: the teacher is not trained yet; no predictions")
        pool = []
    check_files(root, pool)
    rows: list[dict[str, object]] = []
    store = ImageStore(root, model.image, cache_mib=0) if pool else None
    with Progress("predict", len(pool)) as progress:
        if store is not None:
            device = pick_device(params.train.device)
            for sample, logits_KHW in logits_of(model, pool, store, device):
                size = image_size(root / sample.image)
                predicted = predict_pixels(logits_KHW, size)
                _write_images(root, sample, predicted)
                if params.grid is None:
                    rows.append(_scores(sample, predicted, params))
                else:
                    logits_KHW = resize_logits(logits_KHW, size)
                    rows += _region_scores(sample, logits_KHW, params.grid, params)
                progress.advance()
    _write_scores(root, rows, params.num_classes)


def predict_pixels(logits_KHW: Tensor, size: tuple[int, int]) -> Prediction:
    """Class, confidence and entropy of every pixel at `size` (height, width), on the CPU."""
    resized_KHW = resize_logits(logits_KHW, size)
    parts = [_predict_rows(rows_KHW) for rows_KHW in torch.split(resized_KHW, ROWS_PX, dim=1)]
    *maps, sums = zip(*parts, strict=True)
    classes_HW, confidence_HW, entropy_HW = (torch.cat(rows).cpu() for rows in maps)
    entropy_K = torch.stack(sums).sum(dim=0).cpu() / entropy_HW.numel()
    return Prediction(classes_HW, confidence_HW, entropy_HW, entropy_K.clamp(0, 1))


def _predict_rows(logits_KHW: Tensor) -> Prediction:
    """Of some rows of an image; `entropy_K` is a sum over their pixels."""
    log_probs_KHW = logits_KHW.log_softmax(dim=0)
    probs_KHW = log_probs_KHW.exp()
    confidence_HW, classes_HW = probs_KHW.max(dim=0)
    # log_softmax is finite, so 0 * log 0 never arises.
    entropy_HW = -(probs_KHW * log_probs_KHW).sum(dim=0) / math.log(len(logits_KHW))
    entropy_HW = entropy_HW.clamp(0, 1)
    entropy_K = (probs_KHW * entropy_HW).sum(dim=(1, 2))
    return Prediction(classes_HW.to(torch.uint8), confidence_HW, entropy_HW, entropy_K)


def top_mean(values_HW: Tensor, share: float) -> float:
    """Mean of the largest `share` of the pixels, at least one."""
    count = max(1, round(share * values_HW.numel()))
    return float(values_HW.flatten().topk(count, sorted=False).values.mean())


def _region_scores(
    sample: Sample, logits_KHW: Tensor, grid: Grid, params: Params
) -> Iterator[dict[str, object]]:
    """Each region as if it were an image; its entropy is the mean, since it is small as it is."""
    size = (logits_KHW.shape[1], logits_KHW.shape[2])
    for region, name in enumerate(grid.ids(sample.sample_id)):
        box = grid.box(region, size)
        predicted = predict_pixels(logits_KHW[:, *box.slices], (box.height, box.width))
        row = _scores(sample, predicted, params)
        yield row | {"sample_id": name, "entropy": row["mean_entropy"]}


def _scores(sample: Sample, predicted: Prediction, params: Params) -> dict[str, object]:
    reliable_HW = predicted.confidence_HW >= params.method.confidence_threshold
    counts = torch.bincount(predicted.classes_HW.flatten(), minlength=params.num_classes)
    shares = (counts / counts.sum()).tolist()
    shape = shape_of(predicted.classes_HW.numpy())
    return {
        "sample_id": sample.sample_id,
        "domain": sample.domain,
        "labelled": sample.labelled,
        "entropy": top_mean(predicted.entropy_HW, params.acquire.top_share),
        "mean_entropy": float(predicted.entropy_HW.mean()),
        "mean_confidence": float(predicted.confidence_HW.mean()),
        "reliable_share": float(reliable_HW.float().mean()),
        "boundary": shape.boundary,
        "regions": shape.regions,
        **{f"class_{index}": share for index, share in enumerate(shares)},
        **{f"entropy_{index}": each for index, each in enumerate(predicted.entropy_K.tolist())},
    }


def _write_images(root: Path, sample: Sample, predicted: Prediction) -> None:
    save_mask(
        root / layout.sample_png(layout.PSEUDO_LABELS, sample.sample_id),
        predicted.classes_HW.numpy(),
    )
    for folder, values_HW in (
        (layout.CONFIDENCE, predicted.confidence_HW),
        (layout.UNCERTAINTY, predicted.entropy_HW),
    ):
        grey_HW = (values_HW * 255).round().to(torch.uint8).numpy()
        with replacing(root / layout.sample_png(folder, sample.sample_id)) as beside:
            Image.fromarray(np.ascontiguousarray(grey_HW)).save(beside, "PNG", compress_level=1)


def _empty_folders(root: Path) -> None:
    """Leave nothing of an earlier domain; `.empty` keeps a folder that may stay without images."""
    for folder in FOLDERS:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
        (root / folder / ".empty").touch()


def _write_scores(root: Path, rows: list[dict[str, object]], num_classes: int) -> None:
    by_class = [f"{name}_{index}" for name in ("class", "entropy") for index in range(num_classes)]
    types = COLUMNS | dict.fromkeys(by_class, "float64")
    table = pd.DataFrame(rows, columns=list(types)).astype(types)
    with replacing(root / layout.SCORES) as beside:
        table.to_parquet(beside, index=False)
