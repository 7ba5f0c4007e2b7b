"""Stage predict: the teacher's pseudo-labels, confidence and uncertainty for the current domain.

K classes, H height, W width.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self, cast

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from pipeline import layout
from pipeline.acquisition.gradient_columns import gradient_columns
from pipeline.campaign.annotation_time import shape_of
from pipeline.config.params import Params
from pipeline.data.dataset import ImageStore
from pipeline.data.formats.images import image_size, save_mask
from pipeline.errors import ModelError
from pipeline.files import replacing
from pipeline.inference.gradients import WHOLE, gradient_view, mean_gradients, wanted
from pipeline.inference.logits import (
    dropout,
    flips,
    kept_features_of,
    network_of,
    pick_device,
    resize_rows,
    views_of,
)
from pipeline.inference.pixels import Prediction, Views, predict_pixels
from pipeline.inference.tiles import View
from pipeline.models import LoadedModel, load_beside, load_model
from pipeline.models.segmenter import Segmenter
from pipeline.records.manifest import Sample, check_files, read_manifest
from pipeline.records.regions import Grid
from pipeline.runtime.progress import Progress, say
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
Rows = list[dict[str, object]]
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
    with Progress("predict", len(pool)) as progress, _Beside() as beside:
        for predicted in _predictions(root, params, model, pool):
            rows += beside.start(partial(_told, root, params, predicted))
            progress.advance()
        rows += beside.rest()
    _write_scores(root, rows, params.num_classes)


class Predicted(NamedTuple):
    """What is said about one sample."""

    sample: Sample
    whole: Prediction
    regions: Iterable[Prediction]
    """Each of its regions, where people are asked for regions."""
    gradients: list[Columns]
    """Of the sample, or of each region; without columns unless a strategy needs them."""


def _predictions(
    root: Path, params: Params, model: LoadedModel, pool: list[Sample]
) -> Iterator[Predicted]:
    if not pool:
        return
    device = pick_device(params.train.device)
    views = _views(root, params, model, device)
    store = ImageStore(root, model.image, cache_mib=0)  # each image is seen once
    for sample, logits in views_of(model, views.all, pool, store, device):
        size = image_size(root / sample.image)
        gradients = _gradients(views, logits, params.grid or WHOLE)
        regions = _regions(views, logits, size, params.grid) if params.grid else ()
        yield Predicted(sample, predict_pixels(views, logits, size), regions, gradients)


def _gradients(views: Views, logits: dict[View, Tensor], grid: Grid) -> list[Columns]:
    """Taken out of `logits`, where they are no opinion on a class."""
    if views.gradients is None:
        return [{}] * grid.count
    means_RG = mean_gradients(logits.pop(views.gradients), grid)
    return [dict(zip(gradient_columns(), row, strict=True)) for row in means_RG.cpu().tolist()]


def _views(root: Path, params: Params, model: LoadedModel, device: torch.device) -> Views:
    """Whom to ask, by what params want and what the training kept."""
    network = network_of(model, device)
    kept = kept_features_of(model, root, params)
    as_it_is: View = network if kept is None else kept.view
    beside = load_beside(root / layout.TEACHER, model)
    student = beside.pop("student", None)
    snapshots = [snapshot.to(device) for snapshot in beside.values()]
    if params.predict.members == "snapshots" and not snapshots:
        raise ModelError(
            f"{layout.TEACHER}: no snapshots beside the teacher, which predict.members asks for; "
            "`dvc repro --force train_teacher` with train.keep_snapshots: true"
        )
    members: dict[str, Callable[[], list[View]]] = {
        "none": lambda: [as_it_is],
        "flips": lambda: [as_it_is, *flips(network)],
        "dropout": lambda: [as_it_is, *dropout(network)],
        "snapshots": lambda: [as_it_is, *snapshots],
    }
    return Views(
        members=tuple(members[params.predict.members]()),
        snapshots=tuple(snapshots),
        student=None if student is None else student.to(device),
        gradients=gradient_view(cast(Segmenter, network)) if wanted(params) else None,
    )


def _regions(
    views: Views, logits: Mapping[View, Tensor], size: tuple[int, int], grid: Grid
) -> Iterator[Prediction]:
    """Each region as if it were an image."""
    resized = {view: resize_rows(each, size, slice(0, size[0])) for view, each in logits.items()}
    for region in range(grid.count):
        box = grid.box(region, size)
        inside = {view: each_KHW[:, *box.slices] for view, each_KHW in resized.items()}
        yield predict_pixels(views, inside, (box.height, box.width))


def _region_scores(
    sample: Sample, regions: Iterable[Prediction], params: Params
) -> Iterator[dict[str, object]]:
    """Of every region; means over its pixels, since it is small as it is."""
    params = params.with_knobs(predict={"aggregate": "mean"})
    if params.grid:
        for name, predicted in zip(params.grid.ids(sample.sample_id), regions, strict=True):
            yield _scores(sample, predicted, params) | {"sample_id": name}


def _scores(sample: Sample, predicted: Prediction, params: Params) -> dict[str, object]:
    confidence_HW = 1 - predicted.scores["least_confidence"]
    reliable_HW = confidence_HW >= np.float32(params.method.confidence_threshold)
    counts = np.bincount(predicted.classes_HW.reshape(-1), minlength=params.num_classes)
    aggregate = AGGREGATES[params.predict.aggregate]
    scope = scope_of(
        predicted.classes_HW,
        top_share=params.acquire.top_share,
        exclude_boundaries=params.predict.exclude_boundaries,
    )
    instability = predicted.instability
    shape = shape_of(predicted.classes_HW)
    return {
        "sample_id": sample.sample_id,
        "domain": sample.domain,
        "labelled": sample.labelled,
        "mean_entropy": float(predicted.scores["entropy"].mean(dtype=np.float64)),
        "mean_confidence": float(confidence_HW.mean(dtype=np.float64)),
        "reliable_share": float(reliable_HW.mean()),
        "boundary": shape.boundary,
        "regions": shape.regions,
        **{name: aggregate(values_HW, scope) for name, values_HW in predicted.scores.items()},
        **({} if instability is None else {"instability": instability}),
        **{f"class_{index}": share for index, share in enumerate(counts / counts.sum())},
        **{f"entropy_{index}": each for index, each in enumerate(predicted.entropy_K)},
    }


class _Beside:
    """Scores and writes while the next image is looked at: PNGs are packed without Python's lock.

    A few at a time, so that a slow disk does not fill the memory; results come in order.
    """

    MOST = 4

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2)
        self._under_way: deque[Future[Rows]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def start(self, work: Callable[[], Rows]) -> Rows:
        """Begin with it; what older work gave that had to make room, or raise what it raised."""
        done = self._down_to(self.MOST - 1)
        self._under_way.append(self._threads.submit(work))
        return done

    def rest(self) -> Rows:
        """What nobody had yet."""
        return self._down_to(0)

    def _down_to(self, left: int) -> Rows:
        done: Rows = []
        while len(self._under_way) > left:
            done += self._under_way.popleft().result()
        return done


def _told(root: Path, params: Params, predicted: Predicted) -> Rows:
    """The rows of one sample, its pictures written."""
    _write_images(root, predicted.sample, predicted.whole)
    if params.grid is None:
        found: Iterable[dict[str, object]] = [_scores(predicted.sample, predicted.whole, params)]
    else:
        found = _region_scores(predicted.sample, predicted.regions, params)
    return [row | more for row, more in zip(found, predicted.gradients, strict=True)]


def _write_images(root: Path, sample: Sample, predicted: Prediction) -> None:
    save_mask(
        root / layout.sample_png(layout.PSEUDO_LABELS, sample.sample_id), predicted.classes_HW
    )
    for folder, values_HW in (
        (layout.CONFIDENCE, 1 - predicted.scores["least_confidence"]),
        (layout.UNCERTAINTY, predicted.scores["entropy"]),
    ):
        grey_HW = (values_HW * 255).round().astype(np.uint8)
        with replacing(root / layout.sample_png(folder, sample.sample_id)) as beside:
            Image.fromarray(grey_HW).save(beside, "PNG", compress_level=1)


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
