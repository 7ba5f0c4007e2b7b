"""The workspace's own file that a task shows: known by what the task carries, never fetched.

Label Studio says only what anybody with access to it may write into a task. So the item, the
workspace and the image's hash must all be ours, and the path is the manifest's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import layout
from pipeline.errors import AnnotationError
from pipeline.ids import sample_of
from pipeline.plain_text import plain
from pipeline.records.manifest import Sample, read_manifest
from pipeline.records.query import by_image, read_query

Signature = tuple[int, int, int]  # of a file that is replaced, never changed: inode, bytes, time


@dataclass(frozen=True)
class TaskImage:
    """What a task is about."""

    item_id: str
    path: Path


class TaskImages:
    """The images of one workspace; its manifest is read again when it was replaced."""

    def __init__(self, root: Path, workspace_id: str) -> None:
        """Nothing is read yet."""
        self._root = root
        self._workspace_id = workspace_id
        self._read: Signature | None = None
        self._samples: dict[str, Sample] = {}

    def of_task(self, data: Any) -> TaskImage:
        """The image of a task by its data; AnnotationError for one that is not ours."""
        if not isinstance(data, Mapping):
            raise AnnotationError("a task without data")
        item_id = str(data.get("item_id") or "")
        sample = self._known().get(sample_of(item_id)) if item_id.count("/") > 1 else None
        if (
            sample is None
            or data.get("workspace") != self._workspace_id
            or data.get("image_sha256") != sample.image_sha256
        ):
            raise AnnotationError(
                f"task of {plain(item_id, 120) or 'nothing'}: not one that this workspace sent"
            )
        return TaskImage(item_id, self._root / sample.image)

    def asked(self) -> Iterator[Path]:
        """The images of query.csv, what is annotated first first; none before there is a query."""
        for image in by_image(read_query(self._root / layout.QUERY)):
            if (sample := self._known().get(image.sample_id)) is not None:
                yield self._root / sample.image

    def _known(self) -> dict[str, Sample]:
        path = self._root / layout.MANIFEST
        if (found := signature(path)) != self._read:
            self._samples = {sample.sample_id: sample for sample in read_manifest(path)}
            self._read = found
        return self._samples


def signature(path: Path) -> Signature | None:
    """By which a replaced file is told from the one before; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
