"""A folder of images becomes a domain: every file checked first, then all staged at once."""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from pipeline import layout
from pipeline.data.formats.images import is_plain, load_image, load_mask, plain_suffix, save_mask
from pipeline.data.formats.tables import read_splits as read_splits
from pipeline.data.hygiene import Look, in_words, look_at, to_leave_out
from pipeline.data.manifest import Sample, write_manifest
from pipeline.errors import DataError, WorkspaceError
from pipeline.files import alone, replacing, sha256_file
from pipeline.types import INGEST_SPLITS, Split

# A stem becomes part of paths, URLs and the ids people see.
STEM = re.compile(r"[A-Za-z0-9._-]+")
HALF_DONE = ".ingest-"  # prefix of the folder in which a domain is built

Progress = Callable[[int, int], None]  # told (done, total)


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """What was staged; as text, a sentence for people."""

    domain: str
    counts: dict[str, int]  # images per split of INGEST_SPLITS
    converted: int  # images stored as 8-bit RGB PNG
    notes: tuple[str, ...] = ()  # what was changed or looks odd, one per file
    left_out: Mapping[str, str] = field(default_factory=dict)  # sample_id -> why

    @property
    def num_images(self) -> int:
        """All images of the domain."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        """Counts, then the notes, then what is left out."""
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items() if count)
        text = f"domain {self.domain}: {self.num_images} images ({counts})"
        if self.converted:
            text += f"; {self.converted} stored as 8-bit RGB PNG"
        notes = [f"warning: {note}" for note in self.notes]
        return "\n  ".join([text, *notes, *in_words(self.domain, self.left_out)])


@dataclass(frozen=True)
class _Item:
    stem: str
    image: Path
    split: str
    mask: Path | None
    left_out: str = ""


def validate_and_stage(  # noqa: PLR0913 - one keyword per fact of a domain's arrival
    *,
    name: str,
    images: Path,
    masks: Path | None = None,
    splits: Path | None = None,
    classes: Sequence[str],
    existing_domains: Collection[str],
    destination: Path,
    progress: Progress | None = None,
    before_publish: Callable[[Path], None] | None = None,
    keep_all: bool = False,
) -> IngestSummary:
    """Check every file, then build `destination`/`name`: images/, masks/, samples.csv.

    DataError lists all offending files, and then nothing is left behind. Without `progress` a bar
    is shown on a terminal. `before_publish` may add files to the folder before it gets its name.
    Pool images that no label would help with are marked as left out, unless `keep_all`.
    """
    with _alone(destination):
        if name in existing_domains or (destination / name).exists():
            state = "already there" if name in existing_domains else "already waiting"
            raise DataError(f"domain {name!r} is {state}; choose another name")
        items = _plan(images, masks, splits)
        steps = _steps(2 * len(items), f"domain {name}", progress)
        notes, looks = _check(items, len(classes), steps)
        left_out = to_leave_out(looks, {i.stem for i in items if keep_all or i.split != "pool"})
        items = [replace(item, left_out=left_out.get(item.stem, "")) for item in items]
        with _building(destination, name) as folder:
            converted = _store(folder, name, items, len(classes), steps)
            if before_publish:
                before_publish(folder)
    counts = Counter(item.split for item in items)
    return IngestSummary(
        domain=name,
        counts={split: counts[split] for split in INGEST_SPLITS},
        converted=converted,
        notes=tuple(notes),
        left_out={f"{name}/{stem}": why for stem, why in left_out.items()},
    )


def _plan(images: Path, masks: Path | None, splits: Path | None) -> list[_Item]:
    """What to ingest, decided by names alone; DataError lists every name that does not fit."""
    image_files, bad = _by_stem(images)
    mask_files, bad_masks = _by_stem(masks) if masks else ({}, [])
    if not image_files and not bad:
        raise DataError(f"{images}: no images there")
    if splits:
        split_of = read_splits(splits)
        bad += [
            f"{splits}: {stem}: no image of this name" for stem in split_of - image_files.keys()
        ]
        bad += [
            f"{image_files[stem]}: not in {splits}; say pool there, or leave the image out"
            for stem in sorted(image_files.keys() - split_of)
        ]
    else:
        split_of = {stem: "labelled" if stem in mask_files else "pool" for stem in image_files}
        # Without splits every mask counts, so one that fits nothing is a mistake.
        orphans = sorted(mask_files.keys() - image_files)
        bad += [f"{mask_files[stem]}: mask without an image" for stem in orphans]
        bad += bad_masks
        if masks and not mask_files and not bad:
            raise DataError(f"{masks}: no masks there; leave the option out to start without")
    items: list[_Item] = []
    for stem, image in image_files.items():
        split = split_of.get(stem, "pool")
        wanted = split != "pool"
        if wanted and stem not in mask_files:
            where = f"in {masks}" if masks else "(no folder of masks was given)"
            bad.append(f"{image}: split {split} needs a mask {stem}.png {where}")
        items.append(_Item(stem, image, split, mask_files.get(stem) if wanted else None))
    _refuse(bad)
    return items


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Files by stem, sorted, and complaints; hidden files are not looked at."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    bad: list[str] = []
    taken: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            bad.append(f"{path}: a folder, expected the files directly in {folder}")
            continue
        if not STEM.fullmatch(path.stem):
            bad.append(f"{path}: name may only have letters A-Z a-z, digits, '.', '_' and '-'")
            continue
        # Two names that differ in case alone are one file on some disks.
        other = taken.setdefault(path.stem.casefold(), path)
        if other is not path:
            bad.append(f"{path}: same name as {other.name}; an image's name must be its own")
            continue
        files[path.stem] = path
    return files, bad


def _check(
    items: Sequence[_Item], num_classes: int, steps: Iterator[None]
) -> tuple[list[str], dict[str, Look]]:
    """Decode everything; notes on what will be changed, and a look at each image by stem.

    DataError on all that is unusable.
    """
    bad: list[str] = []
    notes: list[str] = []
    looks: dict[str, Look] = {}
    for item in items:
        size = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                image_HWC = load_image(item.image)
            except DataError as error:
                bad.append(str(error))
            else:
                size = image_HWC.shape[:2]
                looks[item.stem] = look_at(image_HWC)
        notes += [str(warning.message) for warning in caught]
        if item.mask:
            try:
                mask_size = load_mask(item.mask, num_classes).shape
            except DataError as error:
                bad.append(str(error))
            else:
                if size and mask_size != size:
                    bad.append(
                        f"{item.mask}: {mask_size[1]}x{mask_size[0]}, expected the "
                        f"{size[1]}x{size[0]} of {item.image.name} (after its EXIF rotation)"
                    )
        next(steps)
    _refuse(bad)
    return notes, looks


def _refuse(bad: Sequence[str]) -> None:
    if bad:
        raise DataError(
            f"{len(bad)} file(s) cannot be ingested, and nothing was:\n  " + "\n  ".join(bad)
        )


def _store(
    folder: Path, name: str, items: Sequence[_Item], num_classes: int, steps: Iterator[None]
) -> int:
    """Write images, masks and samples.csv; returns how many images were converted."""
    samples: list[Sample] = []
    converted = 0
    for item in items:
        plain = is_plain(item.image)
        image = folder / "images" / f"{item.stem}{plain_suffix(item.image) if plain else '.png'}"
        with replacing(image) as beside:
            if plain:
                shutil.copyfile(item.image, beside)
            else:
                with warnings.catch_warnings():  # noted when it was checked
                    warnings.simplefilter("ignore", UserWarning)
                    Image.fromarray(load_image(item.image)).save(beside, format="PNG")
                converted += 1
        mask = folder / "masks" / f"{item.stem}.png" if item.mask else None
        if item.mask and mask:
            save_mask(mask, load_mask(item.mask, num_classes))
        samples.append(_sample(name, item, image, mask))
        next(steps)
    write_manifest(folder / "samples.csv", samples)
    return converted


def _sample(name: str, item: _Item, image: Path, mask: Path | None) -> Sample:
    split: Split = "pool" if item.split == "labelled" else item.split  # type: ignore[assignment]
    return Sample(
        sample_id=f"{name}/{item.stem}",
        domain=name,
        split=split,
        image=(layout.images_dir(name) / image.name).as_posix(),
        image_sha256=sha256_file(image),
        mask=(layout.masks_dir(name) / mask.name).as_posix() if mask else "",
        mask_sha256=sha256_file(mask) if mask else "",
        origin="ground_truth" if mask else "",
        left_out=item.left_out,
    )


@contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """One ingest at a time, so that a half-done folder found here is a killed one's: removed."""
    busy = f"{destination}: another `domain add` is at work; start again when it has ended"
    with alone(destination / ".lock", busy):
        for left in destination.glob(f"{HALF_DONE}*"):
            shutil.rmtree(left)
        yield


@contextmanager
def _building(destination: Path, name: str) -> Iterator[Path]:
    """A hidden folder to build in; becomes `destination`/`name` on success, else is removed."""
    folder = destination / f"{HALF_DONE}{name}"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    try:
        yield folder
        folder.rename(destination / name)
    except OSError as error:
        raise WorkspaceError(
            f"{error.filename or folder}: {error.strerror}; nothing was ingested"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _steps(total: int, title: str, progress: Progress | None) -> Iterator[None]:
    """Each `next` is one step done."""
    # tqdm's None: no bar unless stderr is a terminal.
    disable = True if progress else None
    with tqdm(total=total, desc=title, unit="file", file=sys.stderr, disable=disable) as bar:
        for done in range(1, total + 1):
            bar.update()
            if progress:
                progress(done, total)
            yield
