"""Images, masks, splits and classes that are to be written in a format of other tools."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data.formats.images import load_mask
from pipeline.errors import DataError
from pipeline.records.manifest import Sample

ExportSplit = Literal["train", "unlabelled", "val", "test"]
LEARNT_FROM: tuple[ExportSplit, ...] = ("train", "val", "test")
"""Splits that people may give a model to learn from or to be judged on."""

Advance = Callable[[], object]
"""Told after each image."""
IouLost = dict[str, float | None]
"""By class, the IoU of what the format holds with the masks; None for a class without a pixel."""


@dataclass(frozen=True, kw_only=True)
class ExportSample:
    """One image, and its mask where it has one."""

    name: str
    """Unique, without an ending; that of its files."""
    domain: str
    split: ExportSplit
    image: Path
    suffix: str
    """What kind of file the image is: ".jpg" or ".png"."""
    mask: Path | None

    def mask_HW(self, num_classes: int) -> NDArray[np.uint8]:
        """Class indices, 255 = ignore; DataError without a mask."""
        if self.mask is None:
            raise DataError(f"{self.name}: has no mask")
        return load_mask(self.mask, num_classes)

    def copy_image(self, folder: Path) -> Path:
        """The image's bytes under its name; its path."""
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(self.image, folder / f"{self.name}{self.suffix}"))


@dataclass(frozen=True, kw_only=True)
class ExportSet:
    """What a tag's models saw."""

    classes: tuple[str, ...]
    samples: tuple[ExportSample, ...]

    @property
    def masked(self) -> list[ExportSample]:
        """Those with a mask."""
        return [sample for sample in self.samples if sample.mask is not None]


def export_set(
    classes: tuple[str, ...], samples: Iterable[Sample], place: Callable[[str], Path]
) -> ExportSet:
    """Of a manifest; `place` says where the content of a file of the workspace lies.

    Images of one domain keep their names; of several, `<domain>_<name>`. DataError where two would
    have the same name.
    """
    samples = list(samples)
    several = len({sample.domain for sample in samples}) > 1
    found = []
    for sample in samples:
        stem = sample.sample_id.partition("/")[2]
        found.append(
            ExportSample(
                name=f"{sample.domain}_{stem}" if several else stem,
                domain=sample.domain,
                split=_split(sample),
                image=place(sample.image),
                suffix=Path(sample.image).suffix,
                mask=place(sample.mask) if sample.mask else None,
            )
        )
    names = [sample.name.casefold() for sample in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"{', '.join(twice[:8])}: the name of two images once domains are put together; export "
            "one domain at a time by --domain"
        )
    return ExportSet(classes=classes, samples=tuple(found))


def _split(sample: Sample) -> ExportSplit:
    if sample.split != "pool":
        return sample.split
    return "train" if sample.mask else "unlabelled"
