"""Take more: images that wait in .ssl-loop/more join their domain, before the next round."""

from __future__ import annotations

import shutil
from pathlib import Path

from db.session import session_scope
from flows.domains.incoming import MoreImages
from flows.ledger.records import record_ingest
from flows.loop import Loop
from flows.steps.take_in import copy_files, require_same_classes
from flows.workspace.position import ingest_tag
from pipeline import layout
from pipeline.data.painted_classes import write_classes
from pipeline.errors import WorkspaceError
from pipeline.records.manifest import Sample, read_manifest, write_manifest


def take_more(loop: Loop, more: MoreImages) -> None:
    """Move the images into their domain, version it, tag `<domain>/ingest-<number>`."""
    source, tag = more.folder(loop.root), ingest_tag(more.domain, more.number)
    staged = read_manifest(source / "samples.csv")
    if tag in loop.workspace.tags_merged():
        _require_same(loop, tag, source, staged)
        loop.log(f"{tag} was taken in before; its staged copies go")
    else:
        loop.log(f"taking in {len(staged)} more image(s) of domain {more.domain}")
        with loop.workspace.writing_data():
            _move(loop, more, source, staged)
    with session_scope(loop.ledger) as session:
        record_ingest(session, loop.workspace, more.domain, more.number)
    shutil.rmtree(source)


def _move(loop: Loop, more: MoreImages, source: Path, staged: list[Sample]) -> None:
    workspace = loop.workspace
    require_same_classes(loop, source, staged)
    # From HEAD, without these: a crash before the commit must not add them twice.
    ids = {sample.sample_id for sample in staged}
    before = [s for s in workspace.manifest_at("HEAD") if s.sample_id not in ids]
    _require_here(loop.root, [sample for sample in before if sample.domain == more.domain])
    copy_files(source, loop.root, staged)
    folders = [layout.images_dir(more.domain)]
    if any(sample.mask for sample in staged):
        folders.append(layout.masks_dir(more.domain))
    workspace.dvc_add(folders)
    write_manifest(loop.root / layout.MANIFEST, [*before, *staged])
    write_classes(loop.root / layout.CLASSES, loop.read_params().classes)
    paths = [layout.MANIFEST, layout.CLASSES]
    paths += [folder.with_name(f"{folder.name}.dvc") for folder in folders]
    paths += sorted({folder.parent / ".gitignore" for folder in folders})
    said = f"Take in more of domain {more.domain}, number {more.number}: {len(staged)} images"
    workspace.commit(paths, said)
    workspace.tag(ingest_tag(more.domain, more.number), f"{more.domain}: {len(staged)} more images")


def _require_here(root: Path, samples: list[Sample]) -> None:
    """WorkspaceError where files of the domain are not on this machine: DVC would drop them."""
    names = [name for sample in samples for name in (sample.image, sample.mask) if name]
    if absent := [name for name in names if not (root / name).exists()]:
        raise WorkspaceError(
            f"{absent[0]} and {len(absent) - 1} other file(s) of the domain are not on this "
            "machine, and a new version of it would be without them: `dvc checkout` brings them"
        )


def _require_same(loop: Loop, tag: str, source: Path, staged: list[Sample]) -> None:
    tagged = {s.sample_id: s.image_sha256 for s in loop.workspace.manifest_at(tag)}
    if any(tagged.get(sample.sample_id) != sample.image_sha256 for sample in staged):
        raise WorkspaceError(
            f"{source}: other images than {tag} took in wait under its number; bring them again "
            f"with `ssl-loop domain extend`, then `rm -r {source}`"
        )
