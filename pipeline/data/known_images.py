"""The images that a workspace has already, by their pixels: taken in, or waiting to be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from PIL import Image

from pipeline import layout
from pipeline.data.formats.images import load_image
from pipeline.data.quality import pixels_sha256
from pipeline.errors import DataError
from pipeline.files import write_json
from pipeline.reading import read
from pipeline.records.manifest import Sample, read_manifest

Size = tuple[int, int]  # width, height


class KnownImages:
    """Of the workspace at `root`; what their pixels hash to is remembered by the files' hashes."""

    def __init__(self, root: Path) -> None:
        """Nothing is read before it is asked for."""
        self._root = root
        self._memory = root / layout.PIXELS

    def by_pixels(self, sizes: Collection[Size]) -> dict[str, list[Sample]]:
        """Images of one of these sizes, by the hash of their pixels; files not here are left out.

        Only what has the same size can have the same pixels, so no other is decoded.
        """
        remembered = self._remembered()
        found: dict[str, list[Sample]] = {}
        for sample, file in self.files():
            try:
                with Image.open(file) as image:
                    if image.size not in sizes:
                        continue
                digest = remembered.get(sample.image_sha256) or pixels_sha256(load_image(file))
            except (OSError, DataError):
                continue  # not on this machine, or taken in this moment; `verify` judges files
            remembered[sample.image_sha256] = digest
            found.setdefault(digest, []).append(sample)
        self.remember(remembered)
        return found

    def remember(self, pixels: Mapping[str, str]) -> None:
        """Hashes of pixels by the hash of the file; they never change."""
        before = self._remembered()
        if new := dict(pixels.items() - before.items()):
            write_json(self._memory, before | new)

    def files(self) -> Iterator[tuple[Sample, Path]]:
        """Each image with its file, taken in or waiting."""
        if (self._root / layout.MANIFEST).exists():
            for sample in read_manifest(self._root / layout.MANIFEST):
                yield sample, self._root / sample.image
        incoming = (self._root / layout.INCOMING).glob("[!.]*/samples.csv")
        more = (self._root / layout.MORE).glob("*/[!.]*/samples.csv")
        for listed in sorted((*incoming, *more)):
            try:
                waiting = read_manifest(listed)
            except (OSError, DataError):
                continue  # a tick takes it in
            for sample in waiting:
                yield sample, listed.parent / "images" / Path(sample.image).name

    def _remembered(self) -> dict[str, str]:
        try:
            return read(self._memory).json(dict[str, str])
        except DataError:
            return {}  # never written, or damaged: made again from the files
