"""The masks of a workspace, the likeliest label error first.

H height, W width of an image in pixels, h and w in cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import layout
from pipeline.config.params import Params
from pipeline.data.formats.images import image_size
from pipeline.data.labelled_folder import Example, LabelledSet
from pipeline.errors import DataError
from pipeline.label_errors.masks_judged import judge_masks
from pipeline.label_errors.suspect_components import Suspect
from pipeline.models.probe import CELL_PX
from pipeline.probe.features import features_of
from pipeline.records.manifest import Sample, check_files
from pipeline.records.regions import Box


@dataclass(frozen=True, kw_only=True)
class SuspectPart:
    """A part of a mask that is likely wrong, in words and pixels."""

    painted: str
    """Class in the mask."""
    likeliest: str
    """Class that the model sees there."""
    sure: bool
    """Whether it is sure of that class, and not only that the painted one is wrong."""
    box: Box
    """Around the part, in the image's own pixels."""
    image_share: float
    """Of the image, in [0, 1]."""
    quality: float
    """Mean probability of the painted class in it, in [0, 1]."""
    score: float
    """What the list is ordered by; no probability."""


@dataclass(frozen=True, kw_only=True)
class ReviewedMask:
    """A mask with what is likely wrong in it."""

    sample_id: str
    image: str
    """Relative to the workspace."""
    mask: str
    quality: float
    """Soft minimum of the probabilities of what was painted, in [0, 1]."""
    parts: tuple[SuspectPart, ...]
    """Worst first; at least one."""

    @property
    def score(self) -> float:
        """Of the worst part."""
        return self.parts[0].score


def review_masks(root: Path, params: Params, samples: Sequence[Sample]) -> list[ReviewedMask]:
    """The samples whose masks have a part that is likely wrong, the likeliest first.

    Each mask is judged by a head on frozen features (`embed` of params.yaml) that learnt from other
    masks. Features of the last review are kept in the workspace. DataError for fewer than 2 masks.
    """
    if len(samples) < 2:
        raise DataError(
            f"{len(samples)} mask(s) to look at, 2 expected at least: a mask is judged by what a "
            "model learnt from the others"
        )
    check_files(root, samples)
    data = LabelledSet(
        classes=tuple(params.classes),
        pool=tuple(
            Example(name=s.sample_id, domain=s.domain, image=root / s.image, mask=root / s.mask)
            for s in samples
        ),
        scored=(),
    )
    folder = root / layout.REVIEW
    features, _ = features_of(data, params.embed, params.image, folder)
    for file in folder.glob("*.npz"):  # of earlier reviews, whose masks were others
        if file.stem != features.key:
            file.unlink()
    size_hw = (params.image.height_px // CELL_PX, params.image.width_px // CELL_PX)
    judged = judge_masks(features.cells_NPD, features.masks_NP, size_hw, params.num_classes)
    return [
        ReviewedMask(
            sample_id=samples[one.row].sample_id,
            image=samples[one.row].image,
            mask=samples[one.row].mask,
            quality=one.quality,
            parts=tuple(_part(root / samples[one.row].image, s, params) for s in one.suspects),
        )
        for one in judged
        if one.suspects
    ]


def _part(image: Path, suspect: Suspect, params: Params) -> SuspectPart:
    return SuspectPart(
        painted=params.classes[suspect.painted],
        likeliest=params.classes[suspect.likeliest],
        sure=suspect.sure,
        box=box_of(suspect.cells_hw, image_size(image)),
        image_share=float(suspect.cells_hw.mean()),
        quality=suspect.quality,
        score=suspect.score,
    )


def box_of(cells_hw: NDArray[np.bool_], size: tuple[int, int]) -> Box:
    """The pixels of an image of `size` (height, width) around cells that are set."""
    rows, columns = (np.flatnonzero(cells_hw.any(axis=axis)) for axis in (1, 0))
    height, width = size
    top, bottom = (int(at) * height // cells_hw.shape[0] for at in (rows[0], rows[-1] + 1))
    left, right = (int(at) * width // cells_hw.shape[1] for at in (columns[0], columns[-1] + 1))
    return Box(left, top, max(1, right - left), max(1, bottom - top))
