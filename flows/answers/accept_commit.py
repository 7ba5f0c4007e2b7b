"""`ssl-loop commit accept`: what a person changed by hand and committed becomes the loop's.

A mask that was mended is an answer of the commit's author, which came when it was accepted: answers
that come from the tool later count more, earlier ones less. All else stays as it was committed.
"""

from __future__ import annotations

import getpass
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image
from sqlalchemy.orm import Session

from db import repository
from db.session import session_scope
from flows.ledger.records import AnnotationRecord, write_record
from flows.loop import Loop, inbox
from flows.workspace.dvc.dvc_cache import Cache, cache_of, outs_at
from flows.workspace.git.commit_owners import ACCEPTS, Commit, acceptances, foreign_commits
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.data.formats.images import load_mask
from pipeline.errors import DataError, WorkspaceError
from pipeline.files import replacing, sha256_file
from pipeline.records.manifest import Sample


def accept_commits(loop: Loop, names: Sequence[str]) -> list[str]:
    """Take people's commits; a line for each. WorkspaceError for any other, or without a name."""
    with loop.workspace.lock():
        loop.workspace.require_clean_branch()
        chosen = _chosen(loop.workspace, names)
        told = [_accept(loop, commit) for commit in chosen]
        lines = "\n".join(f"{ACCEPTS}{commit.revision}" for commit in chosen)
        loop.workspace.commit(
            [], f"Take commits by hand, as {getpass.getuser()} says\n\n{lines}", empty=True
        )
        with session_scope(loop.ledger) as session:
            record_acceptances(session, loop.workspace)
    return told


def data_base(workspace: Workspace, tag: str) -> str:
    """The state that a merge of the round at `tag` starts from: the tag, or what people changed
    since and the loop took."""
    taken = acceptances(workspace, f"{tag}..HEAD")
    return taken[0].revision if taken else tag


def record_acceptances(session: Session, workspace: Workspace) -> None:
    """The audit event of every commit that was taken, from git's history."""
    for acceptance in acceptances(workspace):
        for revision in acceptance.accepted:
            who = workspace.git.says("log", "-1", "--format=%an <%ae>", revision)
            repository.record_event(
                session,
                kind="commit_accepted",
                who=_who(acceptance),
                subject=revision,
                key=f"commit-accepted/{revision}",
                detail={"author": who or "unknown"},
            )


def _who(acceptance: Commit) -> str:
    return acceptance.subject.rpartition(", as ")[2].removesuffix(" says") or acceptance.author


def _chosen(workspace: Workspace, names: Sequence[str]) -> list[Commit]:
    """Oldest first."""
    open_ones = foreign_commits(workspace)
    listed = "\n  ".join(commit.in_words() for commit in open_ones) or "none"
    if not names:
        raise WorkspaceError(f"name the commits to take; of people's there are:\n  {listed}")
    known = {commit.revision: commit for commit in open_ones}
    for name in names:
        revision = workspace.git.says("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if revision not in known:
            raise WorkspaceError(
                f"{name}: not a commit by hand that waits to be taken; those that do:\n  {listed}"
            )
    revisions = {workspace.revision(name) for name in names}
    return [commit for commit in reversed(open_ones) if commit.revision in revisions]


def _accept(loop: Loop, commit: Commit) -> str:
    mended = mended_masks(loop.workspace, commit)
    with session_scope(loop.ledger, read_only=True) as session:
        items = {sample.sample_id: _newest_item(session, sample) for sample in mended}
    for sample, mask in mended.items():
        if item_id := items[sample.sample_id]:
            _keep(loop, commit, sample, item_id, mask)
    masks = f", {len(mended)} mask(s) as answers of its author" if mended else ""
    return f"{commit.revision[:10]} by {commit.author} is taken{masks}"


def mended_masks(workspace: Workspace, commit: Commit) -> dict[Sample, Path]:
    """Samples whose mask a commit replaced -> the file in DVC's cache.

    DataError where the manifest and the masks of the commit do not say the same, or a mask is none.
    """
    before = {s.sample_id: s for s in workspace.manifest_at(commit.parents[0])}
    after = workspace.manifest_at(commit.revision)
    cache = cache_of(workspace)
    domains = {sample.domain for sample in after}
    old, new = (
        _masks(workspace, cache, at, domains) for at in (commit.parents[0], commit.revision)
    )
    found, bad = {}, []
    for sample in after:
        known = before.get(sample.sample_id)
        path = (
            sample.mask
            or layout.sample_png(
                layout.masks_dir(sample.domain), Path(sample.image).stem
            ).as_posix()
        )
        told = known is None or known.mask_sha256 != sample.mask_sha256
        if not told and old.get(path) == new.get(path):
            continue
        why = _wrong(workspace, cache, sample, new.get(path))
        if why:
            bad.append(f"{path}: {why}")
        elif sample.mask:
            found[sample] = cache.object(new[path])
    if bad:
        raise DataError(
            f"{commit.revision[:10]}: masks and {layout.MANIFEST} do not agree:\n  "
            + "\n  ".join(bad[:10])
            + f"\nAfter an edit: `dvc add data/DOMAIN/masks`, the new hash into {layout.MANIFEST}, "
            "and one commit of both"
        )
    return found


def _masks(
    workspace: Workspace, cache: Cache, revision: str, domains: Iterable[str]
) -> dict[str, str]:
    """`path -> MD5` of every mask at a revision."""
    folders = {layout.masks_dir(domain).as_posix() for domain in domains}
    outs = [out for out in outs_at(workspace.git, revision) if out.path in folders]
    return {path: md5 for out in outs for path, md5 in (cache.files(out) or {}).items()}


def _wrong(workspace: Workspace, cache: Cache, sample: Sample, md5: str | None) -> str:
    """What is wrong with the mask that a commit gives to a sample; "" when nothing is."""
    if not sample.mask:
        return "there is a mask, and the manifest has none" if md5 else ""
    if md5 is None:
        return "the manifest has a mask, and masks.dvc has none"
    file = cache.object(md5)
    if not file.exists():
        return f"not in DVC's cache ({file})"
    if (found := sha256_file(file)) != sample.mask_sha256:
        return f"mask_sha256 is {sample.mask_sha256}, the file's is {found}"
    try:
        size = load_mask(file, len(workspace.params().classes)).shape
    except DataError as error:
        return str(error)
    with Image.open(workspace.root / sample.image) as image:
        expected = (image.height, image.width)
    return "" if size == expected else f"{size} pixels, the image has {expected}"


def _newest_item(session: Session, sample: Sample) -> str | None:
    """Under which item the mask was asked for last; None where people gave it with the domain."""
    for round_index in reversed(repository.rounds(session, sample.domain)):
        for item in repository.query_items(session, sample.domain, round_index):
            if item.sample_id == sample.sample_id and item.regions:
                raise WorkspaceError(
                    f"{sample.sample_id}: was asked for by regions, and its mask is put together "
                    "from their answers at every merge; edit the answer in the annotation tool"
                )
            if item.sample_id == sample.sample_id:
                return item.item_id
    return None


def _keep(loop: Loop, commit: Commit, sample: Sample, item_id: str, mask: Path) -> None:
    """Put the mask and its record where answers wait for the next merge."""
    identity = hashlib.sha256(f"{commit.revision}/{sample.sample_id}".encode()).hexdigest()
    with session_scope(loop.ledger, read_only=True) as session:
        sequence = repository.next_sequence(session)
    with replacing(inbox(loop.root, f"{sample.mask_sha256}.png")) as beside:
        shutil.copyfile(mask, beside)
    record = AnnotationRecord(
        item_id=item_id,
        project_id=0,
        task_id=0,
        tool_annotation_id=-int(identity[:12], 16),  # the tool's own are positive
        annotator=f"{commit.author} <{commit.email}>",
        lead_time_s=None,
        created_at=commit.at.isoformat(),
        updated_at=commit.at.isoformat(),
        verdict="accepted",
        why=f"by hand, in commit {commit.revision}",
        corrected_pixels=None,
        mask_sha256=sample.mask_sha256,
        raw_sha256=identity,
        result=[],
        sequence=sequence,
    )
    write_record(loop.root, record)
    with session_scope(loop.ledger) as session:
        repository.record_annotation(session, **record.facts())
