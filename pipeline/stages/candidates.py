"""Who may be asked for: images, or regions of them, by id."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.config.params import Params
from pipeline.data.formats.images import image_size
from pipeline.records.manifest import Sample
from pipeline.records.query import Region
from pipeline.records.regions import Grid


def candidates_of(samples: Iterable[Sample], domain: str) -> list[Sample]:
    """What may be asked for in `domain`.

    Images of which regions are known are among them: as wholes nobody asks for these.
    """
    return [item for item in samples if item.domain == domain and item.candidate]


def images_of(samples: Iterable[Sample], domain: str) -> list[str]:
    """Ids of the images that may be asked for as wholes."""
    return [item.sample_id for item in candidates_of(samples, domain) if not item.regions]


def regions_of(root: Path, params: Params, samples: Iterable[Sample]) -> dict[str, Region]:
    """`id -> image and box` of the regions that nobody was asked for; none in queries of images."""
    found: dict[str, Region] = {}
    if params.grid is None:
        return found
    for sample in candidates_of(samples, str(params.domain)):
        size, known = image_size(root / sample.image), sample.boxes
        for region, name in enumerate(params.grid.ids(sample.sample_id)):
            box = params.grid.box(region, size)
            # Of another grid too: no pixel is asked for twice.
            if not any(map(box.meets, known)):
                found[name] = sample.sample_id, box
    return found


def labelled_ids(root: Path, params: Params, samples: Iterable[Sample]) -> list[list[str]]:
    """Ids of the labelled images, or of their regions that people answered, domain by domain."""
    found: dict[str, list[str]] = {}
    for sample in sorted((one for one in samples if one.labelled), key=lambda one: one.domain):
        found.setdefault(sample.domain, []).extend(_labelled_of(root, params.grid, sample))
    return list(found.values())


def _labelled_of(root: Path, grid: Grid | None, sample: Sample) -> list[str]:
    if grid is None:
        return [sample.sample_id]
    ids = grid.ids(sample.sample_id)
    known, size = sample.boxes, image_size(root / sample.image)
    if not known:
        return ids
    boxes = (grid.box(region, size) for region in range(grid.count))
    return [name for name, box in zip(ids, boxes, strict=True) if any(map(box.meets, known))]
