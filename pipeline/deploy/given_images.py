"""What a model is shown: image files, and frames of videos. H height, W width, C = 3 colours.

Files are named by people as folders, globs or files; a frame belongs to its video and has a time.
"""

from __future__ import annotations

import glob
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.formats.images import PixelStrip, image_strips
from pipeline.data.names import why_no_file
from pipeline.deploy.videos import VIDEO_SUFFIXES, Frame, frames, num_frames
from pipeline.errors import DataError
from pipeline.files import sha256_file
from pipeline.reading import is_text
from pipeline.types import MOST_MEGAPIXELS

IsDone = Callable[[str, str], bool]
"""Whether the image of a key, from a file of a SHA-256, is not wanted any more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenImage:
    """One image, or one frame of a video."""

    path: Path
    """Absolute; of the file it comes from."""
    image_sha256: str
    """Of that file."""
    frame: Frame | None = None
    max_megapixels: float = MOST_MEGAPIXELS
    """More are not read."""

    @property
    def due_s(self) -> float | None:
        """Of a frame, seconds from the video's start."""
        return None if self.frame is None else self.frame.due_s

    @property
    def key(self) -> str:
        """By which a run knows it again: path, and time in the video."""
        return key_of(self.path, self.due_s)

    def strips(self) -> Iterator[PixelStrip]:
        """Its rows, upright; DataError where it cannot be read. A file's notes are not shown."""
        if self.frame is not None:
            pixels_HWC = self.frame.pixels_HWC
            if not pixels_HWC.size:
                raise DataError(f"{self.key}: this frame cannot be decoded")
            yield PixelStrip((pixels_HWC.shape[0], pixels_HWC.shape[1]), 0, pixels_HWC)
            return
        with warnings.catch_warnings():  # alpha, 12 bits: as at ingest, where they are notes
            warnings.simplefilter("ignore", UserWarning)
            yield from image_strips(self.path, self.max_megapixels)


def key_of(path: Path, due_s: float | None) -> str:
    """The path of an image; of a frame with the time at which it was due, in seconds."""
    return str(path) if due_s is None else f"{path}@{due_s:.3f}s"


def is_video(path: Path) -> bool:
    """By the ending of its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def files_named(names: Sequence[str]) -> list[Path]:
    """Absolute paths of all files that folders, globs and file names mean, each once, sorted.

    Folders with all that lies below them, but for hidden names; globs as the shell has them, `**`
    too. DataError for a name that means nothing.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name).absolute()
        if path.is_dir():
            found.update(dict.fromkeys(_below(path)))
        elif path.exists() or path.is_symlink():
            found[path] = None
        else:
            matched = glob.glob(name, recursive=True)  # noqa: PTH207 - Path's takes none with a root
            if not matched:
                raise DataError(f"{name}: no such file or folder, and no file matches it")
            for match in (Path(each).absolute() for each in matched):
                found.update(dict.fromkeys(_below(match) if match.is_dir() else [match]))
    return sorted(found)


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not path.is_dir():
            yield path


def num_images(path: Path, every_s: float) -> int:
    """About how many come of a file: 1, or of a video by what its header says; 1 where it lies."""
    return num_frames(path, every_s) if is_video(path) else 1


def images_of(path: Path, every_s: float, is_done: IsDone) -> Iterator[GivenImage]:
    """The image of a file, or a video's frames every `every_s` seconds, but for what `is_done`.

    DataError names a file that cannot be read; an image is opened only when its strips are asked
    for.
    """
    if why := why_no_file(path):
        raise DataError(f"{path}: {why}")
    if not is_text(str(path)):
        raise DataError(f"{str(path)!a}: a name that is not UTF-8; rename it")
    sha256 = sha256_file(path)
    if not is_video(path):
        given = GivenImage(path=path, image_sha256=sha256)
        if not is_done(given.key, sha256):
            yield given
        return
    for frame in frames(path, every_s, lambda due_s: is_done(key_of(path, due_s), sha256)):
        yield GivenImage(path=path, image_sha256=sha256, frame=frame)
