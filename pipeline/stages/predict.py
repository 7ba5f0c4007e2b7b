"""Stage predict: the teacher's pseudo-labels, confidence and uncertainty for the current domain.

K classes, H height, W width.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import torch

from pipeline import layout
from pipeline.acquisition.gradient_columns import gradient_columns
from pipeline.campaign.annotation_time import shape_of
from pipeline.config.params import Params
from pipeline.data.dataset import ImageStore
from pipeline.data.formats.images import image_size, value_counts
from pipeline.files import replacing
from pipeline.inference.gradients import WHOLE, MeanGradients, gradient_view, wanted
from pipeline.inference.logits import kept_features_of, network_of, pick_device, views_of
from pipeline.inference.members import more_members
from pipeline.inference.pixels import PredictedImage, Prediction, Views, predict_pixels
from pipeline.inference.prediction_files import save_classes, save_confidence, save_uncertainty
from pipeline.inference.tiles import Bands, View
from pipeline.models import LoadedModel, load_beside, load_model
from pipeline.models.segmenter import Segmenter
from pipeline.records.manifest import Sample, check_files, read_manifest
from pipeline.records.regions import Grid
from pipeline.runtime.progress import Progress, say
from pipeline.runtime.side_work import SideWork
from pipeline.uncertainty.aggregate import AGGREGATES, scope_of

FOLDERS = (layout.PSEUDO_LABELS, layout.CONFIDENCE, layout.UNCERTAINTY)
COLUMNS = {
    "sample_id": "str",
    "domain": "str",
    "labelled": "bool",
    "entropy": "float64",
    "mean_entropy": "float64",
    "mean_confidence": "float64",
    "reliable_share": "float64",
    "margin": "float64",
    "least_confidence": "float64",
    "boundary": "float64",
    "regions": "int64",
}
Columns = dict[str, float]
Row = dict[str, object]
Rows = list[Row]
# Only where they can be had: with members, with the student, with snapshots of the teacher.
MORE_COLUMNS = ("bald", "disagreement", "instability")


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
    rows: Rows = []
    with Progress("predict", len(pool)) as progress, SideWork[Row]() as beside:
        for predicted in _predictions(root, params, model, pool):
            num_pixels = predicted.found.whole.classes_HW.size
            rows += beside.start(partial(_told, root, params, predicted), num_pixels)
            progress.advance()
        rows += beside.rest()
    _write_scores(root, rows, params.num_classes)


class Predicted(NamedTuple):
    """What is said about one sample."""

    sample: Sample
    found: PredictedImage
    """Its boxes are its regions, where people are asked for regions."""
    gradients: list[Columns]
    """Of the sample, or of each region; without columns unless a strategy needs them."""


def _predictions(
    root: Path, params: Params, model: LoadedModel, pool: list[Sample]
) -> Iterator[Predicted]:
    if not pool:
        return
    device = pick_device(params.train.device)
    views = _views(root, params, model, device)
    # Each image is seen once.
    store = ImageStore(root, model.image, cache_mib=0, decoded_gib=params.train.decoded_gib)
    for sample, bands in views_of(model, views.all, pool, store, device):
        size = image_size(root / sample.image)
        grid, gradients = params.grid, None
        if views.gradients is not None:
            gradients = MeanGradients(grid or WHOLE)
            bands = _without(bands, views.gradients, gradients)
        boxes = [grid.box(region, size) for region in range(grid.count)] if grid else []
        found = predict_pixels(views, bands, size, boxes=boxes, folder=root / layout.PRIVATE)
        yield Predicted(sample, found, _gradient_rows(gradients, grid or WHOLE))


def _without(bands: Bands, view: View, gradients: MeanGradients) -> Bands:
    """The bands once `gradients` has taken its own out of them: they are no opinion on a class."""
    for band in bands:
        gradients.add(band.pop(view))
        yield band


def _gradient_rows(gradients: MeanGradients | None, grid: Grid) -> list[Columns]:
    if gradients is None:
        return [{}] * grid.count
    rows = gradients.rows_RG.cpu().tolist()
    return [dict(zip(gradient_columns(), row, strict=True)) for row in rows]


def _views(root: Path, params: Params, model: LoadedModel, device: torch.device) -> Views:
    """Whom to ask, by what params want and what the training kept."""
    network = network_of(model, device)
    kept = kept_features_of(model, root, params)
    as_it_is: View = network if kept is None else kept.view
    beside = load_beside(root / layout.TEACHER, model)
    student = beside.pop("student", None)
    snapshots = [snapshot.to(device) for snapshot in beside.values()]
    more = more_members(params.predict.members, network, snapshots, str(layout.TEACHER))
    return Views(
        members=(as_it_is, *more),
        snapshots=tuple(snapshots),
        student=None if student is None else student.to(device),
        gradients=gradient_view(cast(Segmenter, network)) if wanted(params) else None,
    )


def _region_scores(
    sample: Sample, regions: Iterable[Prediction], params: Params
) -> Iterator[dict[str, object]]:
    """Of every region; means over its pixels, since it is small as it is."""
    params = params.with_knobs(predict={"aggregate": "mean"})
    if params.grid:
        for name, predicted in zip(params.grid.ids(sample.sample_id), regions, strict=True):
            yield _scores(sample, predicted, params) | {"sample_id": name}


def _scores(sample: Sample, predicted: Prediction, params: Params) -> dict[str, object]:
    counts = value_counts(predicted.classes_HW)[: params.num_classes]
    shape = shape_of(predicted.classes_HW)
    aggregate = AGGREGATES[params.predict.aggregate]
    scope = scope_of(
        predicted.classes_HW,
        top_share=params.acquire.top_share,
        exclude_boundaries=params.predict.exclude_boundaries,
    )
    instability = predicted.instability
    return {
        "sample_id": sample.sample_id,
        "domain": sample.domain,
        "labelled": sample.labelled,
        **_means(predicted, params.method.confidence_threshold),
        "boundary": shape.boundary,
        "regions": shape.regions,
        **{name: aggregate(values, scope) for name, values in predicted.scores.items()},
        **({} if instability is None else {"instability": instability}),
        **{f"class_{index}": share for index, share in enumerate(counts / counts.sum())},
        **{f"entropy_{index}": each for index, each in enumerate(predicted.entropy_K)},
    }


def _means(predicted: Prediction, confidence_threshold: float) -> dict[str, float]:
    """Over all pixels."""
    entropy = confidence = reliable = 0.0
    for _, entropy_RW in predicted.scores["entropy"].strips():
        entropy += float(entropy_RW.sum(dtype=np.float64))
    for _, doubt_RW in predicted.scores["least_confidence"].strips():
        confidence_RW = 1 - doubt_RW
        confidence += float(confidence_RW.sum(dtype=np.float64))
        reliable += np.count_nonzero(confidence_RW >= np.float32(confidence_threshold))
    sums = {"mean_entropy": entropy, "mean_confidence": confidence, "reliable_share": reliable}
    return {name: each / predicted.classes_HW.size for name, each in sums.items()}


def _told(root: Path, params: Params, predicted: Predicted) -> Rows:
    """The rows of one sample, its pictures written."""
    found = predicted.found
    _write_images(root, predicted.sample, found.whole)
    if params.grid is None:
        rows: Iterable[dict[str, object]] = [_scores(predicted.sample, found.whole, params)]
    else:
        rows = _region_scores(predicted.sample, found.boxes, params)
    return [row | more for row, more in zip(rows, predicted.gradients, strict=True)]


def _write_images(root: Path, sample: Sample, predicted: Prediction) -> None:
    files = [root / layout.sample_png(folder, sample.sample_id) for folder in FOLDERS]
    for file, write in zip(files, (save_classes, save_confidence, save_uncertainty), strict=True):
        write(file, predicted)


def _empty_folders(root: Path) -> None:
    """Leave nothing of an earlier domain; `.empty` keeps a folder that may stay without images."""
    for folder in FOLDERS:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
        (root / folder / ".empty").touch()


def _write_scores(root: Path, rows: Rows, num_classes: int) -> None:
    more = [name for name in (*MORE_COLUMNS, *gradient_columns()) if rows and name in rows[0]]
    by_class = [f"{name}_{index}" for name in ("class", "entropy") for index in range(num_classes)]
    types = COLUMNS | dict.fromkeys([*more, *by_class], "float64")
    table = pd.DataFrame(rows, columns=list(types)).astype(types)
    with replacing(root / layout.SCORES) as beside:
        table.to_parquet(beside, index=False)
