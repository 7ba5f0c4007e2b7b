"""`data/manifest.csv`: every sample with its split, files and hashes. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pipeline.errors import DataError
from pipeline.files import sha256_file, write_text
from pipeline.reading import Content, Document, Row, content_of, read
from pipeline.records.csv_codec import NOT_EMPTY, Column, CsvCodec
from pipeline.records.regions import Box, parse_boxes
from pipeline.types import Origin, Split


def _boxes_text(row: Row, column: str) -> str:
    parse_boxes(row[column], row.where)
    return row[column]


def _count(row: Row, column: str) -> int:
    return row.whole(column) if row[column] else 0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image of one domain; `sample_id` is `<domain>/<stem>` for life."""

    sample_id: Annotated[str, NOT_EMPTY]
    domain: Annotated[str, NOT_EMPTY]
    split: Split
    image: Annotated[str, NOT_EMPTY]  # relative to the workspace
    image_sha256: str
    mask: str = ""  # relative to the workspace; "" = none
    mask_sha256: str = ""
    origin: Origin = ""
    skips: int = 0  # how often people said no to it; such a sample is not asked for again
    left_out: str = ""  # why no label of it would help, by pipeline.data.quality; "" = it may
    regions: Annotated[str, Column(_boxes_text)] = ""
    """Boxes that people answered or refused, where not asked for as a whole."""
    asked: Annotated[int, Column(_count)] = 0
    """Answers to it that people were asked for and still may give; none more is asked meanwhile."""
    corrected: Annotated[int, Column(_count)] = 0
    """1 = its mask holds only what people corrected in a pre-annotation: most of it is unlabelled,
    and nobody is asked about it again."""

    @property
    def labelled(self) -> bool:
        """In the pool with a mask: what trainings learn from."""
        return self.split == "pool" and bool(self.mask)

    @property
    def unlabelled(self) -> bool:
        """In the pool with pixels that nobody was asked for: the unlabelled stream and the
        candidates of a query. An image of which regions are known, or corrections, is labelled and
        this too."""
        known_whole = self.mask and not self.regions and not self.corrected
        return self.split == "pool" and not known_whole and not self.left_out

    @property
    def candidate(self) -> bool:
        """Unlabelled, never refused or corrected by a person, no question of it open: people may be
        asked."""
        return self.unlabelled and not self.skips and not self.asked and not self.corrected

    @property
    def boxes(self) -> tuple[Box, ...]:
        """`regions` as boxes."""
        return parse_boxes(self.regions, self.sample_id)

    @property
    def num_answers(self) -> int:
        """How often people gave a mask or said no, region by region: what a budget counts."""
        return len(self.boxes) or int(self.origin == "annotated" or self.skips > 0)


_LATER = ("regions", "asked", "corrected")  # columns that are there once there is something in them
_TABLE = CsvCodec(Sample, optional=_LATER)


def read_manifest(path: Path) -> list[Sample]:
    """All samples in file order; DataError names the line and the value that is wrong."""
    return _samples(read(path, absent="`ssl-loop domain add` brings the first images"))


def parse_manifest(content: Content, *, source: str = "data/manifest.csv") -> list[Sample]:
    """As `read_manifest`, from what git has: how a tag's manifest is read."""
    return _samples(content_of(content, source))


def _samples(document: Document) -> list[Sample]:
    found: dict[str, Sample] = {}
    for row, sample in _TABLE.read(document):
        if sample.sample_id in found:
            raise row.wrong("sample_id", "an id that comes once")
        found[sample.sample_id] = sample
    return list(found.values())


def write_manifest(path: Path, samples: Iterable[Sample]) -> None:
    """Write samples sorted by domain and id, so that equal contents are equal files."""
    rows = sorted(samples, key=lambda sample: (sample.domain, sample.sample_id))
    without = [name for name in _LATER if not any(getattr(row, name) for row in rows)]
    write_text(path, _TABLE.text(rows, without=without))


def with_mask(sample: Sample, *, mask: str, sha256: str, split: Split) -> Sample:
    """The sample after people gave it a mask."""
    return replace(
        sample, mask=mask, mask_sha256=sha256, origin="annotated", split=split, corrected=0
    )


def without_mask(sample: Sample) -> Sample:
    """The sample after every answer to it was taken back; masks that came with it stay."""
    if sample.origin != "annotated":
        return sample
    split: Split = "pool" if sample.split == "val" else sample.split
    return replace(sample, mask="", mask_sha256="", origin="", split=split, regions="", corrected=0)


def check_files(root: Path, samples: Sequence[Sample]) -> None:
    """DataError listing every image or mask that is absent or not what the manifest says."""
    bad: list[str] = []
    for sample in samples:
        for name, expected in (
            (sample.image, sample.image_sha256),
            (sample.mask, sample.mask_sha256),
        ):
            if not name:
                continue
            path = root / name
            if not path.exists():
                bad.append(f"{name}: missing")
            elif sha256_file(path) != expected:
                bad.append(f"{name}: differs from the manifest's hash")
    if bad:
        raise DataError(
            f"{len(bad)} file(s) do not match data/manifest.csv; `dvc checkout` brings back what "
            "the manifest describes:\n  " + "\n  ".join(bad[:50])
        )
