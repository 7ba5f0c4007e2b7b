"""Take in: a domain that waits in .ssl-loop/incoming becomes the current one."""

from __future__ import annotations

import shutil
from pathlib import Path

from db.session import session_scope
from flows.domains.incoming import OPTIONS, incoming_folder
from flows.domains.shift_on_arrival import adopt, on_arrival
from flows.ledger.records import record_ingest
from flows.loop import Loop
from flows.steps.keep_teacher import hand_over_teacher
from flows.workspace.position import ingest_tag
from pipeline import layout
from pipeline.data.formats import read_classes
from pipeline.data.painted_classes import require_same, write_classes
from pipeline.errors import WorkspaceError
from pipeline.files import replacing
from pipeline.reading import AGAIN, read
from pipeline.records.manifest import Sample, read_manifest, write_manifest


def take_in(loop: Loop, name: str) -> None:
    """Move the domain into data/, version it, make it current, tag `<name>/ingest`."""
    source = incoming_folder(loop.root, name)
    if ingest_tag(name) in loop.workspace.tags_merged():
        _require_same(loop, name, source)
        loop.log(f"domain {name} was taken in before; its staged copies go")
    else:
        loop.log(f"taking in domain {name}")
        with loop.workspace.writing_data():
            _move(loop, name, source)
    with session_scope(loop.ledger) as session:
        record_ingest(session, loop.workspace, name)
    shutil.rmtree(source)


def _move(loop: Loop, name: str, source: Path) -> None:
    workspace = loop.workspace
    on_arrival(loop.root, name, loop.log)  # for one that came before there was a teacher
    staged, classes = read_manifest(source / "samples.csv"), loop.read_params().classes
    require_same_classes(loop, source, staged)
    copy_files(source, loop.root, staged)
    folders = [layout.images_dir(name)]
    if any(sample.mask for sample in staged):
        folders.append(layout.masks_dir(name))
    folders += hand_over_teacher(loop)
    workspace.dvc_add(folders)
    # From HEAD, and without this domain: a crash before the commit or before the tag must not
    # add its samples twice.
    before = workspace.manifest_at("HEAD")
    others = [sample for sample in before if sample.domain != name]
    write_manifest(loop.root / layout.MANIFEST, [*others, *staged])
    _make_current(loop, name, source)
    write_classes(loop.root / layout.CLASSES, classes)
    paths = [layout.MANIFEST, layout.CLASSES, layout.PARAMS]
    paths += [folder.with_name(f"{folder.name}.dvc") for folder in folders]
    paths += adopt(loop, name)
    paths += sorted({folder.parent / ".gitignore" for folder in folders})
    workspace.commit(paths, f"Take in domain {name}: {len(staged)} images")
    workspace.tag(ingest_tag(name), f"domain {name} as it arrived")


def _require_same(loop: Loop, name: str, source: Path) -> None:
    """WorkspaceError unless what waits is what was taken in: else it is another domain's."""
    tagged = loop.workspace.manifest_at(ingest_tag(name))
    taken = {s.sample_id: s.image_sha256 for s in tagged if s.domain == name}
    staged = {s.sample_id: s.image_sha256 for s in read_manifest(source / "samples.csv")}
    if staged != taken:
        raise WorkspaceError(
            f"{source}: {len(staged)} images wait under the name of domain {name}, which has "
            f"{len(taken)} others by its tag {ingest_tag(name)}; if they are a domain of their "
            f"own: `ssl-loop domain add OTHER --images {source / 'images'}`, then `rm -r {source}`"
        )


def require_same_classes(loop: Loop, source: Path, staged: list[Sample]) -> None:
    """WorkspaceError where staged masks were painted under other classes than the workspace has."""
    listed = source / layout.CLASSES.name
    if listed.exists() and any(sample.mask for sample in staged):
        require_same(read_classes(listed), loop.read_params().classes)


def copy_files(source: Path, root: Path, staged: list[Sample]) -> None:
    """Put staged images and masks where the manifest says, each whole or not at all."""
    for sample in staged:
        for name in filter(None, (sample.image, sample.mask)):
            target = root / name
            with replacing(target) as beside:
                shutil.copyfile(source / target.parent.name / target.name, beside)


def _make_current(loop: Loop, name: str, source: Path) -> None:
    options_file = source / OPTIONS
    options = {}
    if options_file.exists():
        options = read(options_file, remedy=AGAIN).json(dict[str, int])
    known = loop.read_params().domains
    domains = {domain: block.model_dump(exclude_none=True) for domain, block in known.items()}
    loop.workspace.write_params({"domain": name, "domains": {**domains, name: options}})
