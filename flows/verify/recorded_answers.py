"""Answers: ledger = records = masks, version by version and pixel by pixel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sqlalchemy import select

from db.repository import latest_accepted, pre_annotation
from db.session import session_scope
from db.tables import Annotation, LsTask, Verdict
from flows.annotators.masks import decode_annotation
from flows.ledger.records import (
    AnnotationRecord,
    answers_dir,
    background_in,
    boxes_of,
    corrects,
    mask_file,
)
from flows.steps.region_masks import Answers, partial_answers, pieces_of, put_together
from flows.verify.evidence import Evidence, Finding, version_of
from flows.workspace.position import round_tag
from pipeline import layout
from pipeline.campaign.corrections import only_corrected
from pipeline.data.formats.images import load_mask
from pipeline.errors import SslLoopError
from pipeline.ids import sample_of
from pipeline.records.manifest import Sample
from pipeline.records.regions import kept_inside
from pipeline.types import MAX_CLASSES

Mask = npt.NDArray[np.uint8]

AGAIN = "`ssl-loop ledger rebuild`, then the next tick pulls what is missing from the tool"
NEW_LEDGER = (
    "the ledger was changed by hand: set it aside and make it again (`ssl-loop ledger rebuild`)"
)
_IN_PROGRESS = ("incoming-mask.png",)


def versions(evidence: Evidence) -> Iterator[Finding]:
    """Every version of an answer is one row; what it supersedes is an older one of its item."""
    by_id = {row.id: row for row in evidence.versions}
    seen: dict[tuple[Any, ...], int] = {}
    for row in evidence.versions:
        what = ""
        if (identity := version_of(row)) in seen:
            what = f"is the same version as annotation {seen[identity]}"
        seen[identity] = row.id
        before = by_id.get(row.supersedes) if row.supersedes else None
        if row.supersedes and (before is None or before.item_id != row.item_id):
            what = f"supersedes annotation {row.supersedes}, which is no answer to its item"
        if before is not None and before.id >= row.id:
            what = f"supersedes annotation {row.supersedes}, which was recorded later"
        if what:
            where = f"annotation {row.id} of {row.item_id}"
            yield Finding(where=where, what=what, remedy=NEW_LEDGER)


def records(evidence: Evidence) -> Iterator[Finding]:
    """Every answer in the ledger has its record, every record its row, and both say the same."""
    rows = {version_of(row): row for row in evidence.versions}
    for kept in evidence.kept:
        where = kept.path.relative_to(evidence.root).as_posix()
        remedy = "`dvc checkout` brings it back" if kept.merged else AGAIN
        if kept.record is None:
            yield Finding(where=where, what=f"cannot be read: {kept.why}", remedy=remedy)
        elif (version := version_of(kept.record)) not in rows:
            yield Finding(
                where=where,
                what="a record of which the ledger has no row",
                remedy="`ssl-loop ledger rebuild` puts it in",
            )
        elif differing := _differing(kept.record, rows[version]):
            yield Finding(
                where=where, what=f"differs from the ledger in {differing}", remedy=remedy
            )
    there = {version_of(kept.record) for kept in evidence.kept if kept.record}
    for version in rows.keys() - there:
        row = rows[version]
        yield Finding(
            where=row.item_id,
            what=f"the record of its answer {row.tool_annotation_id} is in neither inbox nor data",
            remedy=AGAIN,
        )


def _differing(record: AnnotationRecord, row: Annotation) -> str:
    facts = record.facts()
    found = [name for name, value in facts.items() if getattr(row, name, value) != value]
    # A withdrawal has the hash of what it takes back, and no result of its own.
    withdrawn = record.verdict == Verdict.WITHDRAWN
    if not withdrawn and _digest(record.result) != record.raw_sha256:
        found.append("result")
    return ", ".join(found)


def _digest(result: list[dict[str, Any]]) -> str:
    raw = json.dumps(result, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(raw.encode()).hexdigest()


def masks(evidence: Evidence) -> Iterator[Finding]:
    """Every accepted answer, read again from what the tool gave, is its mask pixel for pixel."""
    accepted = [
        record
        for record in evidence.records.values()
        if record.verdict == Verdict.ACCEPTED
        and record.tool_annotation_id > 0  # others came as masks, in a commit by hand
    ]
    samples = {sample.sample_id: sample for sample in evidence.manifest()}
    for record in evidence.each("masks", accepted):
        sample = samples.get(record.sample_id)
        # Where there is none, `inbox` and `merged` name what has to be there.
        files = _mask_files(evidence, record, sample) if sample else []
        for file in files:
            if evidence.sha256(file) != record.mask_sha256:
                what = "its hash is not the answer's"
                yield _mask_finding(evidence, record, file, what, f"remove {file.name}; {AGAIN}")
        if sample and files:
            yield from _read_anew(evidence, record, sample, files[0])


def _mask_files(evidence: Evidence, record: AnnotationRecord, sample: Sample) -> list[Path]:
    """Where an answer's mask lies: waiting, as a piece beside its record, as the image's mask."""
    name = f"{record.mask_sha256}.png"
    root, merged_into = evidence.root, evidence.root / sample.mask
    found = [root / layout.INBOX / name, answers_dir(root, record.item_id) / name]
    if sample.mask_sha256 == record.mask_sha256:
        found.append(merged_into)
    return [path for path in found if path.is_file()]


def _mask_finding(
    evidence: Evidence, record: AnnotationRecord, file: Path, what: str, remedy: str
) -> Finding:
    where = f"{record.item_id}: {file.relative_to(evidence.root).as_posix()}"
    return Finding(where=where, what=what, remedy=remedy)


def _read_anew(
    evidence: Evidence, record: AnnotationRecord, sample: Sample, file: Path
) -> Iterator[Finding]:
    remedy = (
        f"do not train on it: `ssl-loop lineage --sample {record.sample_id}` names the models that "
        "did; have it annotated again"
    )
    try:
        given_HW, kept_HW = _read_again(evidence, record, sample), load_mask(file, MAX_CLASSES)
    except SslLoopError as error:
        yield _mask_finding(evidence, record, file, f"cannot be read again: {error}", remedy)
        return
    if not np.array_equal(given_HW, kept_HW):
        what = (
            f"{_count(given_HW, kept_HW)} are not what the person painted, read again from the "
            "tool's own answer"
        )
        yield _mask_finding(evidence, record, file, what, remedy)


def _count(one_HW: Mask, other_HW: Mask) -> str:
    if one_HW.shape != other_HW.shape:
        return f"sizes {one_HW.shape} and {other_HW.shape}: all pixels"
    return f"{int((one_HW != other_HW).sum())} of {one_HW.size} pixels"


def _read_again(evidence: Evidence, record: AnnotationRecord, sample: Sample) -> Mask:
    """By the classes and the background of the round that asked, against the pre-annotation."""
    item = evidence.items[record.item_id]
    tag = round_tag(item.domain, item.round_index)
    params = evidence.yaml(tag, layout.PARAMS)
    with Image.open(evidence.root / sample.image) as image:
        size = (image.height, image.width)
    sent, classes, background = _sent(evidence, record), params["classes"], background_in(params)
    mask_HW = decode_annotation(record.result, sent, classes, size=size, background=background)
    if corrects(item, params):
        shown_HW = decode_annotation(sent, [], classes, size=size, background=background)
        return only_corrected(mask_HW, shown_HW)
    return kept_inside(mask_HW, boxes_of(item))


def _sent(evidence: Evidence, record: AnnotationRecord) -> list[dict[str, Any]]:
    """The pre-annotation of the answer's own task, or of the item's newest."""
    statement = (
        select(LsTask.pre_annotation)
        .filter_by(item_id=record.item_id, task_id=record.task_id, project_id=record.project_id)
        .order_by(LsTask.id.desc())
    )
    with session_scope(evidence.loop.ledger, read_only=True) as session:
        own = session.scalars(statement).first()
        return own or pre_annotation(session, record.item_id) or []


def merged(evidence: Evidence) -> Iterator[Finding]:
    """Every merged mask is the answer that counts, and every answer that counts is merged."""
    with session_scope(evidence.loop.ledger, read_only=True) as session:
        counts = latest_accepted(session)
        partial = partial_answers(session, evidence.domains)
    of_sample: dict[str, list[Annotation]] = {}
    for row in evidence.versions:
        of_sample.setdefault(sample_of(row.item_id), []).append(row)
    for sample in evidence.manifest():
        rows = of_sample.get(sample.sample_id, [])
        accepted = [row for row in rows if row.verdict is Verdict.ACCEPTED]
        waiting = [row for row in rows if version_of(row) not in evidence.merged]
        finding = None
        if sample.origin == "annotated" and not accepted:
            finding = "has a mask said to be annotated, and nobody's answer gave it"
        elif sample.sample_id in partial:
            finding = _unlike_its_pieces(evidence, sample, partial[sample.sample_id], waiting)
        elif accepted and waiting:
            known = {row.mask_sha256 for row in accepted if row not in waiting}
            if sample.origin == "annotated" and sample.mask_sha256 not in known:
                finding = "has a mask that none of its merged answers gave"
        elif accepted:
            finding = _unlike_what_counts(sample, counts.get(sample.sample_id))
        if finding:
            yield Finding(
                where=sample.sample_id,
                what=finding,
                remedy="`git log data/manifest.csv` says since when; `ssl-loop restore TAG` brings "
                "the last right state, and the next merge takes the ledger's answer",
            )


def _unlike_what_counts(sample: Sample, counts: Annotation | None) -> str | None:
    """Of an image whose answers are all merged; `counts` is None where all were withdrawn."""
    if counts is None:
        withdrawn = "has a mask of people, all of whose answers were withdrawn"
        return withdrawn if sample.origin == "annotated" else None
    if counts.mask_sha256 == sample.mask_sha256:
        return None
    return "its mask is not the answer that counts" if sample.mask else "lost its mask"


def _unlike_its_pieces(
    evidence: Evidence, sample: Sample, given: Answers, waiting: list[Annotation]
) -> str | None:
    """Of an image that was asked for by regions; what waits for a merge cannot be judged yet."""
    if waiting or not given.accepted:
        return None
    try:
        pieces = pieces_of(evidence.root, given, val=sample.split == "val")
        found_HW = load_mask(evidence.root / sample.mask, MAX_CLASSES)
    except (SslLoopError, OSError) as error:
        return f"its mask cannot be put together from the answers: {error}"
    same = np.array_equal(put_together(pieces), found_HW)
    return None if same else "its mask is not what the answers to its regions make"


def inbox(evidence: Evidence) -> Iterator[Finding]:
    """Every file of the inbox belongs to an answer; no mask that waits for a merge is missing."""
    folder = evidence.root / layout.INBOX
    known: set[Any] = {str(row.mask_sha256) for row in evidence.versions if row.mask_sha256}
    known |= {sample.mask_sha256 for sample in evidence.manifest() if sample.mask}
    known |= {version_of(row) for row in evidence.versions}
    records = {kept.path: version_of(kept.record) for kept in evidence.kept if kept.record}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        temporary = path.name.startswith(".") or path.name in _IN_PROGRESS
        if (
            temporary
            or records.get(path) in known
            or (path.suffix == ".png" and path.stem in known)
        ):
            continue
        if path.suffix == ".png" and _of_earlier_merges(evidence, path.stem):
            continue
        yield Finding(
            where=path.relative_to(evidence.root).as_posix(),
            what="belongs to no answer in the ledger",
            remedy="`ssl-loop ledger rebuild` takes what is an answer; move anything else away",
        )
    for row in evidence.versions:
        waits = row.mask_sha256 and version_of(row) not in evidence.merged
        if waits and mask_file(evidence.root, row.item_id, str(row.mask_sha256)) is None:
            yield Finding(
                where=row.item_id,
                what=f"the mask of its answer is missing ({row.mask_sha256}.png)",
                remedy=AGAIN,
            )


def _of_earlier_merges(evidence: Evidence, digest: str) -> bool:
    """Masks put together from regions stay in the inbox, whatever was merged after them."""
    return any(
        sample.mask_sha256 == digest
        for tag in evidence.tags
        if tag.endswith("-labels")
        for sample in evidence.manifest(tag)
    )
