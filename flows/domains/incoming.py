"""What waits until a tick takes it in: domains in .ssl-loop/incoming, more images of known domains
in .ssl-loop/more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import layout
from pipeline.records.manifest import Sample, read_manifest

OPTIONS = "domain.json"  # what `domain add` said beyond the images: query_size, budget


@dataclass(frozen=True, order=True)
class MoreImages:
    """Images that are to join a domain."""

    domain: str
    number: int
    """2 for the first that join it; of the tag `<domain>/ingest-<number>`."""

    def folder(self, root: Path) -> Path:
        """Where their files wait."""
        return more_folder(root, self.domain) / str(self.number)


def more_folder(root: Path, domain: str) -> Path:
    """The folder in which images wait that are to join a domain."""
    return root / layout.MORE / domain


def more_images(root: Path) -> list[MoreImages]:
    """All that wait to join a domain, by domain, first come first."""
    found = (root / layout.MORE).glob("*/[0-9]*/samples.csv")
    return sorted(
        MoreImages(path.parent.parent.name, int(path.parent.name))
        for path in found
        if path.parent.name.isdecimal()
    )


def incoming_folder(root: Path, name: str) -> Path:
    """The folder in which the files of a domain wait."""
    return root / layout.INCOMING / name


def names_taken(root: Path) -> list[str]:
    """Names that are taken, also those of domains that are still being copied."""
    folder = root / layout.INCOMING
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def waiting(root: Path) -> list[str]:
    """Names of domains that wait, first come first."""
    folder = root / layout.INCOMING
    if not folder.exists():
        return []
    staged = [path for path in folder.iterdir() if (path / "samples.csv").exists()]
    arrived = sorted(staged, key=lambda path: ((path / "samples.csv").stat().st_mtime_ns, path))
    return [path.name for path in arrived if not path.name.startswith(".")]


def waiting_samples(root: Path) -> list[Sample]:
    """Of all domains that wait, with image and mask where they lie until a tick takes them in."""
    return [
        replace(sample, image=_there(name, sample.image), mask=_there(name, sample.mask))
        for name in waiting(root)
        for sample in read_manifest(incoming_folder(root, name) / "samples.csv")
    ]


def _there(name: str, path: str) -> str:
    inside = path.removeprefix(f"{layout.DATA}/{name}/")
    return f"{layout.INCOMING / name / inside}" if path else ""
