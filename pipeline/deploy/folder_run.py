"""`ssl-loop predict`: images and videos into a folder of masks, which a later run goes on with.

H height, W width, C = 3 colours, R rows at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from pipeline.class_colours import class_colours
from pipeline.data.dataset import seen_image
from pipeline.data.formats.images import QUICK_PNG, value_counts
from pipeline.deploy.deployed_model import DeployedModel, ModelChoice, ShownImage
from pipeline.deploy.given_images import GivenImage, images_of, is_video, num_images
from pipeline.deploy.mask_names import MaskNames
from pipeline.deploy.share_table import ImageShares, ShareTable
from pipeline.deploy.videos import require_decoder
from pipeline.errors import DataError, WorkspaceError
from pipeline.files import alone, failure_words, replacing, write_json
from pipeline.inference.pixels import Prediction
from pipeline.inference.prediction_files import save_classes, save_confidence
from pipeline.reading import read
from pipeline.report.pictures import painted
from pipeline.row_bands import row_bands
from pipeline.runtime.progress import Progress, say
from pipeline.runtime.side_work import SideWork

MASKS, OVERLAYS, CONFIDENCE = "masks", "overlays", "confidence"
TABLE, RUN, LOCK = "images.csv", "run.json", ".lock"
_OTHER = "name another folder for --out"
FLUSH_EVERY_S = 1.0  # rows of images.csv: what was not on the disk by then is predicted again


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written of an image, and how often one is taken from a video."""

    out: Path
    overlays: bool = False
    confidence: bool = False
    every_s: float = 1.0
    """Seconds between frames."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Each holds one PNG of every image, of the same name."""
        more = ((OVERLAYS, self.overlays), (CONFIDENCE, self.confidence))
        return (MASKS, *(name for name, wanted in more if wanted))

    def file(self, folder: str, name: str) -> Path:
        """Of an image whose mask is called `name`."""
        return self.out / folder / f"{name}.png"

    def there(self, name: str) -> bool:
        """Whether all PNGs of an image are."""
        return all(self.file(folder, name).exists() for folder in self.folders)


@dataclass(kw_only=True)
class RunSummary:
    """What a run did, for people and scripts."""

    out: str
    model_sha256: str
    predicted: int = 0
    there_before: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    """`image` and `why` of every file, or frame, that could not be read."""
    shares: dict[str, float] = field(default_factory=dict)
    """Of each class over all pixels predicted now; empty where there are none."""

    @property
    def good(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    def in_words(self) -> str:
        """A line of counts, and the commonest classes."""
        before = f", {self.there_before} were there" if self.there_before else ""
        failed = f", {len(self.failed)} could not be read" if self.failed else ""
        common = sorted(self.shares.items(), key=lambda each: -each[1])[:5]
        classes = ", ".join(f"{name} {share:.1%}" for name, share in common)
        return f"{self.out}: {self.predicted} predicted{before}{failed}" + (
            f"; {classes}" if classes else ""
        )


class FolderRun:
    """Predictions into one folder; `take` may be called again with more files."""

    def __init__(self, choice: ModelChoice, outputs: Outputs) -> None:
        """WorkspaceError where the folder holds what another model predicted, or anybody else."""
        self._model = DeployedModel(choice)
        self._outputs = outputs
        classes = self._model.classes
        _require_own(outputs.out, self._model.sha256, choice.members, classes)
        self.summary = RunSummary(out=str(outputs.out), model_sha256=self._model.sha256)
        self._table = ShareTable(outputs.out / TABLE, classes)
        self._names = MaskNames(row.mask for row in self._table.rows.values())
        self._pixels_K = np.zeros(len(classes))
        self._flushed = time.monotonic()

    def take(self, files: Sequence[Path]) -> None:
        """Predict what is not there yet; what cannot be read is named in the summary."""
        if any(map(is_video, files)):
            require_decoder()
        total = sum(num_images(file, self._outputs.every_s) for file in files)
        with Progress("predict", total) as progress, SideWork[ImageShares]() as beside:
            try:
                seen = self._seen(files, progress)
                for one, found in self._model.predictions(seen, self._outputs.out):
                    name = self._name(one.given)
                    work = partial(self._written, one, found.whole, name)
                    self._add(beside.start(work, found.whole.classes_HW.size))
                    progress.advance()
                self._add(beside.rest())
            finally:
                self._table.flush()

    def _seen(
        self, files: Iterable[Path], progress: Progress
    ) -> Iterator[tuple[ShownImage, Tensor]]:
        """What the network has to look at, in order; what cannot be read is left out."""

        def is_done(key: str, sha256: str) -> bool:
            row = self._table.rows.get(key)
            done = row and row.image_sha256 == sha256 and self._outputs.there(row.mask)
            if done:
                self.summary.there_before += 1
                progress.advance()
            return bool(done)

        for file in files:
            with self._named_failures(str(file), progress):
                for given in images_of(file, self._outputs.every_s, is_done):
                    with self._named_failures(given.key, progress):
                        size, pixels_CHW = seen_image(given.strips(), self._model.image)
                        yield ShownImage(given, size), pixels_CHW

    @contextmanager
    def _named_failures(self, what: str, progress: Progress) -> Iterator[None]:
        try:
            yield
        except (DataError, OSError) as error:
            said = failure_words(error) if isinstance(error, OSError) else str(error)
            why = said.removeprefix(f"{what}: ")
            say(f"{what}: {why}")
            self.summary.failed.append({"image": what, "why": why})
            progress.advance()

    def _name(self, given: GivenImage) -> str:
        """Of its PNGs: that of an earlier run, where it had one."""
        before = self._table.rows.get(given.key)
        return before.mask if before else self._names.give(given.path, given.due_s)

    def _written(self, seen: ShownImage, predicted: Prediction, name: str) -> list[ImageShares]:
        """The row of one image, its PNGs written."""
        outputs = self._outputs
        if outputs.overlays:
            _save_overlay(outputs.file(OVERLAYS, name), seen, predicted, len(self._pixels_K))
        if outputs.confidence:
            save_confidence(outputs.file(CONFIDENCE, name), predicted)
        save_classes(outputs.file(MASKS, name), predicted)
        counts = value_counts(predicted.classes_HW)[: len(self._pixels_K)]
        return [
            ImageShares(
                image=str(seen.given.path),
                due_s=seen.given.due_s,
                image_sha256=seen.image_sha256,
                mask=name,
                size=seen.size,
                shares=tuple((counts / counts.sum()).tolist()),
            )
        ]

    def _add(self, rows: Iterable[ImageShares]) -> None:
        for row in rows:
            self._table.add(row)
            self.summary.predicted += 1
            self._pixels_K += np.array(row.shares) * math.prod(row.size)
            shares_K = (self._pixels_K / self._pixels_K.sum()).round(6).tolist()
            self.summary.shares = dict(zip(self._model.classes, shares_K, strict=True))
        if time.monotonic() - self._flushed >= FLUSH_EVERY_S:
            self._table.flush()
            self._flushed = time.monotonic()


@contextmanager
def folder_run(choice: ModelChoice, outputs: Outputs) -> Iterator[FolderRun]:
    """A run that has the folder `outputs.out` to itself; WorkspaceError where another has it."""
    outputs.out.mkdir(parents=True, exist_ok=True)
    with alone(outputs.out / LOCK, f"{outputs.out}: another `ssl-loop predict` writes there"):
        yield FolderRun(choice, outputs)


def _require_own(out: Path, model_sha256: str, members: str, classes: Sequence[str]) -> None:
    """WorkspaceError unless `out` is free, or holds what the same model said."""
    facts = {"model_sha256": model_sha256, "members": members, "classes": list(classes)}
    if (out / RUN).exists():
        found = read(out / RUN, remedy=_OTHER).json(dict[str, Any])
        if differs := [name for name in facts if found.get(name) != facts[name]]:
            raise WorkspaceError(
                f"{out}: holds predictions of another model (other {', '.join(differs)}); {_OTHER}"
            )
    elif (out / MASKS).exists() and any((out / MASKS).iterdir()):
        raise WorkspaceError(f"{out / MASKS}: holds masks of somebody else; {_OTHER}")
    else:
        write_json(out / RUN, facts)


def _save_overlay(path: Path, seen: ShownImage, predicted: Prediction, num_classes: int) -> None:
    """The image with every class painted in its colour."""
    colours = class_colours(num_classes)
    shown_HWC = np.empty((*seen.size, 3), dtype=np.uint8)
    for _, first, pixels_RWC in seen.given.strips():
        for part in row_bands(len(pixels_RWC), seen.size[1]):  # colours are mixed in 8 bytes each
            rows = slice(first + part.start, first + part.stop)
            shown_HWC[rows] = painted(pixels_RWC[part], predicted.classes_HW[rows], colours)
    with replacing(path) as beside:
        Image.fromarray(shown_HWC).save(beside, "PNG", **QUICK_PNG)
