"""Merge: what people answered becomes masks, annotations and manifest rows, tagged as labels.

Everything is rebuilt from the round's tag plus the ledger, never appended to what lies in the
working copy, so a merge that was killed half-way is simply done again.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db.repository import (
    events,
    find_query_item,
    item_states,
    latest_accepted,
    ls_projects,
    ls_tasks,
    pre_annotation,
    rounds,
    withdrawn_samples,
)
from db.session import session_scope
from db.tables import Annotation, ItemState
from flows.answers.accept_commit import data_base
from flows.answers.collected_clicks import CLICKED
from flows.answers.scored_answers import answers_so_far
from flows.ledger.records import (
    AnnotationRecord,
    answers_dir,
    corrected_among,
    read_records,
    tool_facts_path,
)
from flows.ledger.round_events import note
from flows.loop import Loop, inbox
from flows.rounds.open_questions import open_answers
from flows.steps.keep_teacher import hand_over_teacher
from flows.steps.region_masks import audit_picks, partial_answers, place_pieces, with_regions
from flows.workspace.position import Position
from pipeline import layout
from pipeline.data.painted_classes import write_classes
from pipeline.errors import WorkspaceError
from pipeline.files import replacing, sha256_file, write_json
from pipeline.ids import domain_of, sample_of
from pipeline.records.answers import write_answers
from pipeline.records.manifest import Sample, with_mask, without_mask, write_manifest
from pipeline.types import Split

REFUSED = (ItemState.SKIPPED, ItemState.QUARANTINED_TWICE)
SAID_ONCE = ("closed", "reopened", "returned", "late")  # events that no tag tells
SAID_WHOLE = (CLICKED,)  # nor what they say


def merge(loop: Loop, here: Position) -> int:
    """Number of masks that are new or changed with the tag `<domain>/r<k>-labels`."""
    with loop.workspace.writing_data():
        return _merge(loop, here)


def _merge(loop: Loop, here: Position) -> int:
    workspace = loop.workspace
    base = data_base(workspace, here.tag)
    before = workspace.manifest_at(base)
    domains = list(dict.fromkeys(sample.domain for sample in before))
    _back_to(loop, base, domains)
    with session_scope(loop.ledger, read_only=True) as session:
        accepted = latest_accepted(session)
        random_picks = [s for domain in domains for s in audit_picks(session, domain)]
        withdrawn = withdrawn_samples(session)
        skips = _skips(session, domains)
        partial = partial_answers(session, domains)
        asked = open_answers(session, domains)
        corrected = _corrected_items(loop, session, accepted.values())
    answered = [sample_id for sample_id in random_picks if sample_id in accepted]
    val_ids = _val_picks(answered, before, loop.read_params().loop.val_share)
    after = [
        with_regions(loop.root, s, partial[s.sample_id], val=s.sample_id in val_ids)
        if s.sample_id in partial
        else _answered(s, accepted.get(s.sample_id), val_ids, corrected)
        for s in (without_mask(s) if s.sample_id in withdrawn else s for s in before)
    ]
    changed = [
        new for old, new in zip(before, after, strict=True) if new.mask_sha256 != old.mask_sha256
    ]
    for old, new in zip(before, after, strict=True):
        if old.mask and not new.mask:
            loop.log(f"{old.sample_id}: every answer was withdrawn, so it is unlabelled again")
            (loop.root / old.mask).unlink(missing_ok=True)
    for sample in changed:
        if sample.mask:
            _place_mask(loop.root, sample)
    _place_records(loop, domains)
    place_pieces(loop.root, partial.values())
    left_out = _left_out(loop)
    after = [
        replace(
            s, skips=skips[s.sample_id], left_out=left_out[s.sample_id], asked=asked[s.sample_id]
        )
        for s in after
    ]
    write_manifest(loop.root / layout.MANIFEST, after)
    write_answers(loop.root / layout.ANSWERS, answers_so_far(loop, here, after))
    folders = [folder for folder in _folders(domains) if (loop.root / folder).is_dir()]
    folders += hand_over_teacher(loop)
    workspace.dvc_add(folders)
    _seal(loop, here, folders, changed)
    _clear_inbox(loop, after)
    return len(changed)


def _folders(domains: Iterable[str]) -> list[Path]:
    """What a merge writes into."""
    kinds = (layout.masks_dir, layout.annotations_dir)
    return [folder(domain) for domain in domains for folder in kinds]


def _back_to(loop: Loop, base: str, domains: list[str]) -> None:
    """Undo whatever a killed merge left in the data folders."""
    pointers = [folder.with_name(f"{folder.name}.dvc") for folder in _folders(domains)]
    at_tag = [path for path in pointers if loop.workspace.exists_at(base, path)]
    if at_tag:
        loop.workspace.checkout_paths(base, at_tag)
        loop.workspace.dvc_checkout(at_tag, force=True)  # masks of a killed merge are no loss
    for path in set(pointers) - set(at_tag):
        (loop.root / path).unlink(missing_ok=True)
        shutil.rmtree(loop.root / path.with_suffix(""), ignore_errors=True)


def _clear_inbox(loop: Loop, samples: list[Sample]) -> None:
    """Remove what git and DVC keep now; masks of answers that do not count stay at hand."""
    for record in read_records(loop.root, []):
        if record_path(loop.root, record).exists():
            inbox(loop.root, record.file_name).unlink(missing_ok=True)
    for digest in {sample.mask_sha256 for sample in samples if sample.mask_sha256}:
        inbox(loop.root, f"{digest}.png").unlink(missing_ok=True)


def _left_out(loop: Loop) -> dict[str, str]:
    """By HEAD, not the round's tag: people may have let images in since."""
    manifest = loop.workspace.manifest_at("HEAD")
    return {sample.sample_id: sample.left_out for sample in manifest}


def _val_picks(answered: Iterable[str], samples: Iterable[Sample], val_share: float) -> set[str]:
    """Random picks that judge instead of teach, in domains that came without a val split.

    The n-th answered random pick goes to val when ceil(n * share) grows with it: the first does,
    and the share holds ever after. Picks are uniform, so the split stays unbiased.
    """
    given = {s.domain for s in samples if s.split == "val" and s.origin == "ground_truth"}
    chosen: set[str] = set()
    counts: Counter[str] = Counter()
    for sample_id in answered:
        domain = domain_of(sample_id)
        n = counts[domain]
        counts[domain] += 1
        if domain not in given and math.ceil((n + 1) * val_share) > math.ceil(n * val_share):
            chosen.add(sample_id)
    return chosen


def _corrected_items(loop: Loop, session: Session, given: Iterable[Annotation]) -> set[str]:
    """Of the answers that count, those to the question to correct only what is wrong."""
    items = [find_query_item(session, answer.item_id) for answer in given]
    return corrected_among(loop.workspace, [item for item in items if item])


def _answered(
    sample: Sample, answer: Annotation | None, val_ids: set[str], corrected: set[str]
) -> Sample:
    if answer is None or not answer.mask_sha256 or answer.mask_sha256 == sample.mask_sha256:
        return sample
    split: Split = "val" if sample.sample_id in val_ids else sample.split
    mask = layout.sample_png(layout.masks_dir(sample.domain), Path(sample.image).stem)
    known = with_mask(sample, mask=mask.as_posix(), sha256=answer.mask_sha256, split=split)
    return replace(known, corrected=int(answer.item_id in corrected))


def _place_mask(root: Path, sample: Sample) -> None:
    source = inbox(root, f"{sample.mask_sha256}.png")
    if not source.exists() or sha256_file(source) != sample.mask_sha256:
        raise WorkspaceError(
            f"{source} is missing or damaged; `ssl-loop ledger rebuild` and the next tick pull the "
            "annotation from the tool again"
        )
    with replacing(root / sample.mask) as beside:
        shutil.copyfile(source, beside)


def _place_records(loop: Loop, domains: list[str]) -> None:
    for record in read_records(loop.root, []):
        domain = domain_of(record.sample_id)
        if domain in domains:
            write_json(record_path(loop.root, record), asdict(record))
    for domain in domains:
        with session_scope(loop.ledger, read_only=True) as session:
            facts = {
                "projects": _projects(loop, session, domain),
                "tasks": _sent_tasks(session, domain),
                "events": _said_once(session, domain),
            }
        if facts["tasks"]:
            write_json(tool_facts_path(loop.root, domain), facts)


def _projects(loop: Loop, session: Session, domain: str) -> list[dict[str, Any]]:
    """Arguments of `record_ls_project` for all projects that asked for a domain."""
    workspace_id = loop.identity.id
    return [
        {"workspace_id": workspace_id, "domain": domain, "number": number, "project_id": project_id}
        for number, project_id in enumerate(ls_projects(session, workspace_id, domain))
    ]


def _sent_tasks(session: Session, domain: str) -> list[dict[str, Any]]:
    """Arguments of `record_ls_task` for all tasks of a domain."""
    return [
        {
            "item_id": item_id,
            "project_id": task.project_id,
            "task_id": task.task_id,
            "prediction_id": task.prediction_id,
            "pre_annotation": pre_annotation(session, item_id),
        }
        for round_index in rounds(session, domain)
        for item_id, task in ls_tasks(session, domain, round_index).items()
    ]


def _said_once(session: Session, domain: str) -> list[dict[str, Any]]:
    """Arguments of `record_event` for what no tag tells."""
    columns = ("kind", "who", "domain", "round_index", "subject", "key")
    return [
        {column: getattr(event, column) for column in (*columns, *more)}
        for kinds, more in ((SAID_ONCE, ()), (SAID_WHOLE, ("detail",)))
        for kind in kinds
        for event in events(session, kind=kind, domain=domain)
    ]


def record_path(root: Path, record: AnnotationRecord) -> Path:
    """Where a merged record lies: data/<domain>/annotations/<stem>/r<k>/<version>.json."""
    return answers_dir(root, record.item_id) / record.file_name


def _skips(session: Session, domains: list[str]) -> Counter[str]:
    """How often people refused each sample, over all rounds."""
    return Counter(
        sample_of(item_id)
        for domain in domains
        for round_index in rounds(session, domain)
        for item_id, state in item_states(session, domain, round_index).items()
        if state in REFUSED
    )


def _seal(loop: Loop, here: Position, folders: list[Path], changed: list[Sample]) -> None:
    write_classes(loop.root / layout.CLASSES, loop.read_params().classes)
    paths = [layout.MANIFEST, layout.CLASSES, layout.ANSWERS]
    paths += [folder.with_name(f"{folder.name}.dvc") for folder in folders]
    paths += sorted({folder.parent / ".gitignore" for folder in folders})
    message = f"Merge round {here.round_index} of {here.domain}: {len(changed)} masks"
    loop.workspace.commit(paths, message)
    loop.workspace.tag(here.labels_tag, message)
    with session_scope(loop.ledger) as session:
        note(session, "merged", here.domain, here.round_index, masks=len(changed))
