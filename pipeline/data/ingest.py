"""A folder of images becomes a domain: every file checked first, then all staged at once."""

from __future__ import annotations

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
from pipeline.config.rounds import LoopParams
from pipeline.data.doubts import (
    Counts,
    Doubts,
    doubt_copies,
    doubt_known,
    doubt_links,
    doubt_masks,
)
from pipeline.data.formats.csv_tables import read_splits as read_splits
from pipeline.data.formats.images import (
    is_plain,
    load_image,
    load_mask,
    plain_suffix,
    save_mask,
    value_counts,
)
from pipeline.data.joined_images import ArrivedFiles, Joined, known_already
from pipeline.data.known_images import KnownImages
from pipeline.data.names import NamedFiles, files_by_stem, leads_out
from pipeline.data.painted_classes import write_classes
from pipeline.data.quality import Look, in_words, look_at, to_leave_out
from pipeline.errors import DataError, WorkspaceError
from pipeline.files import alone, failure_words, replacing, sha256_file
from pipeline.records.manifest import Sample, write_manifest
from pipeline.types import INGEST_SPLITS, Split

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
    before_publish: Callable[[Path], None] = lambda folder: None,
    keep_all: bool = False,
    accept: bool = False,
    max_megapixels: float = LoopParams().max_megapixels,
    known: KnownImages | None = None,
    links_into: Path | None = None,
    joined: Joined | None = None,
) -> IngestSummary:
    """Check every file, then build `destination`/`name`: images/, masks/, samples.csv.

    DataError lists all offending files, and then nothing is left behind; so it does for what looks
    like a mistake (`pipeline.data.doubts`), unless `accept`. Without `progress` a bar is shown on a
    terminal. `before_publish` may add files to the folder before it gets its name. Pool images that
    no label would help with are marked as left out, those of `known` among them, unless `keep_all`.
    Links out of the folders, but for `links_into`, are a doubt judged before anything is read.
    With `joined` they join a domain, in a folder of its number, but for those that it has.
    """
    target = destination / (str(joined.number) if joined else name)
    with _alone(destination):
        _require_new(name, existing_domains, target)
        items, there = _new_ones(name, _plan(images, masks, splits), joined, max_megapixels)
        there += _doubt_links(items, links_into).settle(name, accept=accept)
        steps = _steps(2 * len(items), f"domain {name}", progress)
        checked = _check(items, len(classes), max_megapixels, steps)
        found = Doubts()
        left_out = _doubt(found, items, checked, classes, keep_all=keep_all)
        left_out |= _compare(found, items, checked, known, keep_all=keep_all)
        notes = found.settle(name, accept=accept)
        items = [replace(item, left_out=left_out.get(item.stem, "")) for item in items]
        with _building(target) as folder:
            converted, samples = _store(folder, name, items, classes, steps)
            before_publish(folder)
        _remember(known, samples, checked)
    return IngestSummary(
        domain=name,
        counts=_counts(items),
        converted=converted,
        notes=(*there, *checked.notes, *notes),
        left_out={f"{name}/{stem}": why for stem, why in left_out.items()},
    )


def _counts(items: Sequence[_Item]) -> dict[str, int]:
    counts = Counter(item.split for item in items)
    return {split: counts[split] for split in INGEST_SPLITS}


def _require_new(name: str, existing_domains: Collection[str], target: Path) -> None:
    if name in existing_domains or target.exists():
        state = "already there" if name in existing_domains else "already waiting"
        raise DataError(f"domain {name!r} is {state}; choose another name")


def _new_ones(
    name: str, items: list[_Item], joined: Joined | None, max_megapixels: float
) -> tuple[list[_Item], list[str]]:
    """What the domain that they join does not have, and a note on what it has."""
    if joined is None:
        return items, []
    arrived = {item.stem: ArrivedFiles(item.image, item.mask) for item in items}
    known = known_already(name, arrived, joined, max_megapixels)
    _refuse(known.bad)
    said = f"{len(known.stems)} image(s) are in domain {name} already and stay as they are"
    new = [item for item in items if item.stem not in known.stems]
    return new, [said] if known.stems else []


def _plan(images: Path, masks: Path | None, splits: Path | None) -> list[_Item]:
    """What to ingest, decided by names alone; DataError lists every name that does not fit."""
    image_files, bad = files_by_stem(images)
    mask_files, bad_masks = files_by_stem(masks) if masks else NamedFiles({}, [])
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


def _doubt_links(items: Sequence[_Item], links_into: Path | None) -> Doubts:
    found, links = Doubts(), {}
    for file in [file for item in items for file in (item.image, item.mask) if file]:
        lies = leads_out(file, file.parent)
        if lies and not (links_into and leads_out(lies, links_into) is None):
            links[file] = lies
    doubt_links(found, links)
    return found


@dataclass(frozen=True)
class _Checked:
    """What decoding everything showed; by stem, but for notes on what will be changed."""

    notes: list[str] = field(default_factory=list)
    looks: dict[str, Look] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Width and height."""
    values: dict[str, Counts] = field(default_factory=dict)
    """Of the masks."""

    @property
    def pixels(self) -> dict[str, str]:
        """Hashes of the images' pixels."""
        return {stem: look.pixels_sha256 for stem, look in self.looks.items()}


def _check(
    items: Sequence[_Item], num_classes: int, max_megapixels: float, steps: Iterator[None]
) -> _Checked:
    """Decode everything; DataError on all that is unusable."""
    bad: list[str] = []
    found = _Checked()
    for item in items:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                image_HWC = load_image(item.image, max_megapixels)
            except DataError as error:
                bad.append(str(error))
            else:
                found.sizes[item.stem] = image_HWC.shape[1], image_HWC.shape[0]
                found.looks[item.stem] = look_at(image_HWC)
                del image_HWC  # before the mask is there too
        found.notes.extend(str(warning.message) for warning in caught)
        if item.mask:
            try:
                mask_HW = load_mask(item.mask, num_classes, max_megapixels)
            except DataError as error:
                bad.append(str(error))
            else:
                height, width = mask_HW.shape
                size = found.sizes.get(item.stem, (width, height))
                if (width, height) != size:
                    bad.append(
                        f"{item.mask}: {width}x{height}, expected the {size[0]}x{size[1]} of "
                        f"{item.image.name} (after its EXIF rotation)"
                    )
                found.values[item.stem] = value_counts(mask_HW)
        next(steps)
    _refuse(bad)
    return found


def _doubt(
    found: Doubts,
    items: Sequence[_Item],
    checked: _Checked,
    classes: Sequence[str],
    *,
    keep_all: bool,
) -> dict[str, str]:
    """Add what the domain itself says; images to leave out, by stem."""
    splits = {item.stem: item.split for item in items}
    doubt_masks(found, checked.values, splits, classes)
    doubt_copies(found, checked.pixels, splits)
    return to_leave_out(checked.looks, _kept(items, keep_all=keep_all))


def _compare(
    found: Doubts,
    items: Sequence[_Item],
    checked: _Checked,
    known: KnownImages | None,
    *,
    keep_all: bool,
) -> dict[str, str]:
    """Add what other domains say; images to leave out, by stem."""
    if known is None:
        return {}
    there = known.by_pixels(set(checked.sizes.values()))
    alike = {stem: there[digest] for stem, digest in checked.pixels.items() if digest in there}
    splits = {item.stem: item.split for item in items}
    return doubt_known(found, alike, splits, _kept(items, keep_all=keep_all))


def _kept(items: Sequence[_Item], *, keep_all: bool) -> set[str]:
    return {item.stem for item in items if keep_all or item.split != "pool"}


def _remember(known: KnownImages | None, samples: Sequence[Sample], checked: _Checked) -> None:
    if known is not None:
        files = (sample.image_sha256 for sample in samples)
        known.remember(dict(zip(files, checked.pixels.values(), strict=True)))


def _refuse(bad: Sequence[str]) -> None:
    if bad:
        raise DataError(
            f"{len(bad)} file(s) cannot be ingested, and nothing was:\n  " + "\n  ".join(bad)
        )


def _store(
    folder: Path, name: str, items: Sequence[_Item], classes: Sequence[str], steps: Iterator[None]
) -> tuple[int, list[Sample]]:
    """Write images, masks and samples.csv; how many images were converted, and the samples."""
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
            save_mask(mask, load_mask(item.mask, len(classes)))
        samples.append(_sample(name, item, image, mask))
        next(steps)
    write_classes(folder / layout.CLASSES.name, classes)
    write_manifest(folder / "samples.csv", samples)
    return converted, samples


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
def _building(target: Path) -> Iterator[Path]:
    """A hidden folder to build in; becomes `target` on success, else is removed."""
    folder = target.with_name(f"{HALF_DONE}{target.name}")
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    try:
        yield folder
        folder.rename(target)
    except (OSError, WorkspaceError) as error:
        said = failure_words(error) if isinstance(error, OSError) else error
        raise WorkspaceError(f"{said}; nothing was ingested") from error
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
