"""`ssl-loop export-data`: masks, splits and classes of a tag, in a format of other tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows.deploy.tagged_files import TaggedFiles
from flows.versions.restore import made_beside, require_free
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import parse_params
from pipeline.data.exports import EXPORTS, export_set
from pipeline.errors import WorkspaceError
from pipeline.runtime.progress import Progress


@dataclass(frozen=True, kw_only=True)
class ExportedData:
    """What was written."""

    out: str
    tag: str
    format: str
    lossless: bool
    images: dict[str, int]
    """By split."""
    iou: dict[str, float | None]
    """By class, of what the format holds with the masks; empty where it is lossless."""

    def in_words(self) -> str:
        """A line of counts, and one for what was lost."""
        counts = ", ".join(f"{count} {split}" for split, count in self.images.items())
        lines = [f"{self.out}: {self.tag} as {self.format}, {counts}"]
        if self.lossless:
            return f"{lines[0]}; lossless"
        lines += [
            f"  IoU with the masks: {name} {'-' if iou is None else f'{iou:.4f}'}"
            for name, iou in self.iou.items()
        ]
        return "\n".join(lines)


def export_data(
    workspace: Path, tag: str, out: Path, *, name: str, domain: str | None = None
) -> ExportedData:
    """Write what the models of `tag` saw, all domains or one, to the new folder `out` as `name`.

    Read from git and DVC's cache; the work tree stays as it is. WorkspaceError for an unknown tag
    or domain, for data that the cache lacks, and where `out` is not free.
    """
    out = out.absolute()
    opened = Workspace(workspace)
    files = TaggedFiles(opened, tag)
    require_free(out)
    params = parse_params(opened.file_at(tag, layout.PARAMS).yaml(), source=f"params at {tag}")
    if domain is not None and domain not in params.domains:
        known = ", ".join(params.domains) or "none"
        raise WorkspaceError(f"{domain}: no domain at {tag}; known: {known}")
    samples = [s for s in opened.manifest_at(tag) if domain in (None, s.domain)]
    kept: dict[str, Path] = {}
    for known in sorted({sample.domain for sample in samples}):
        for folder in (layout.images_dir(known), layout.masks_dir(known)):
            if files.has(folder.as_posix()):
                kept |= files.under(folder.as_posix())

    def place(path: str) -> Path:
        if path not in kept:
            raise WorkspaceError(f"{tag}: {path} is in its manifest and not among its data")
        return kept[path]

    data = export_set(params.classes, samples, place)
    with made_beside(out) as beside, Progress("export-data", len(data.samples)) as progress:
        beside.mkdir()
        lost = EXPORTS[name].build(data, beside, progress.advance)
    splits = [sample.split for sample in data.samples]
    return ExportedData(
        out=str(out),
        tag=tag,
        format=name,
        lossless=EXPORTS[name].lossless,
        images={split: splits.count(split) for split in dict.fromkeys(splits)},
        iou=lost,
    )
