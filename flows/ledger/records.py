"""Facts in files and facts in the ledger: the same words for both, so that either makes the other.

A tick records facts from the tag it just made; `ssl-loop ledger rebuild` calls the same functions
for every tag. Annotations travel as one JSON each: inbox first, data/<domain>/annotations after
the merge.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db import repository
from db.tables import Annotation, QueryItem
from flows.ledger.round_events import WHO, note
from flows.workspace.position import ingest_tag, round_tag
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.campaign.stopping import Advice, parse_advice
from pipeline.files import write_json
from pipeline.ids import domain_of, sample_of
from pipeline.reading import Document, read
from pipeline.records.query import QueryImage, QueryRow, by_image, parse_query
from pipeline.records.regions import Box
from pipeline.stages import STAGES

DAMAGED = "`dvc checkout` brings a merged one back, the tool has one that waits in the inbox"


@dataclass(frozen=True, kw_only=True)
class AnnotationRecord:
    """What a person answered, as it is kept for good; `result` is the tool's own, untouched."""

    item_id: str
    project_id: int
    task_id: int
    tool_annotation_id: int
    annotator: str
    lead_time_s: float | None
    created_at: str
    updated_at: str
    verdict: str
    why: str
    corrected_pixels: int | None
    mask_sha256: str | None
    raw_sha256: str
    result: list[dict[str, Any]]
    ground_truth: bool = False
    sequence: int | None = None  # None: of an older version, which kept no order

    @property
    def sample_id(self) -> str:
        """The sample that was asked about."""
        return sample_of(self.item_id)

    @property
    def file_name(self) -> str:
        """Unique per version of an annotation; older versions of the loop left the order out."""
        order = "" if self.sequence is None else f"{self.sequence:06d}-"
        return f"{order}{self.tool_annotation_id}-{self.raw_sha256[:12]}-{self.verdict}.json"

    def facts(self) -> dict[str, Any]:
        """Arguments of `repository.record_annotation`."""
        left_out = ("project_id", "task_id", "result", "created_at", "updated_at")
        facts = {key: value for key, value in asdict(self).items() if key not in left_out}
        if self.lead_time_s is not None and math.isnan(self.lead_time_s):
            facts["lead_time_s"] = None  # equal to nothing, itself included; the file has it
        facts["created_at"] = datetime.fromisoformat(self.created_at)
        facts["updated_at"] = datetime.fromisoformat(self.updated_at)
        return facts


def record_of_row(
    row: Annotation,
    *,
    project_id: int = 0,
    task_id: int = 0,
    result: Sequence[Mapping[str, Any]] = (),
) -> AnnotationRecord:
    """The record of a version that the ledger has, with what the tool alone knows of it."""
    return AnnotationRecord(
        item_id=row.item_id,
        project_id=project_id,
        task_id=task_id,
        tool_annotation_id=row.tool_annotation_id,
        annotator=row.annotator,
        lead_time_s=row.lead_time_s,
        created_at=row.created_at.isoformat(),
        updated_at=row.updated_at.isoformat(),
        verdict=row.verdict.value,
        why=row.why,
        corrected_pixels=row.corrected_pixels,
        mask_sha256=row.mask_sha256,
        raw_sha256=row.raw_sha256,
        result=[dict(part) for part in result],
        ground_truth=row.ground_truth,
        sequence=row.sequence,
    )


def has_record(root: Path, row: Annotation) -> bool:
    """Whether the record of a version lies in the inbox, or where a merge put it."""
    name = record_of_row(row).file_name
    older = name.partition("-")[2]  # without the order, as older versions of the loop wrote it
    folders = (root / layout.INBOX, answers_dir(root, row.item_id))
    return any((folder / one).exists() for folder in folders for one in (name, older))


def write_record(root: Path, record: AnnotationRecord) -> None:
    """Keep a record in the inbox until a merge versions it."""
    write_json(root / layout.INBOX / record.file_name, asdict(record))


def record_of(document: Document) -> AnnotationRecord:
    """The record that a file holds; DataError names the key that is wrong."""
    record = document.json(AnnotationRecord, lenient=True)
    for when in (record.created_at, record.updated_at):
        try:
            datetime.fromisoformat(when)
        except ValueError:
            raise document.wrong(f"time {when[:40]!r}, expected ISO 8601") from None
    return record


def read_records(root: Path, domains: list[str]) -> list[AnnotationRecord]:
    """All records, merged and waiting, in the order in which they came."""
    files = [*(root / layout.INBOX).glob("*.json")]
    for domain in domains:
        files += (root / layout.annotations_dir(domain)).rglob("*-*.json")
    records = {path.name: record_of(read(path, remedy=DAMAGED)) for path in files}
    return sorted(
        records.values(),
        key=lambda r: (
            -1 if r.sequence is None else r.sequence,
            r.updated_at,
            r.tool_annotation_id,
            r.raw_sha256,
        ),
    )


def answers_dir(root: Path, item_id: str) -> Path:
    """Where merges keep what was answered to an item: data/<domain>/annotations/<stem>/r<k>."""
    domain = domain_of(item_id)
    return root / layout.annotations_dir(domain) / item_id.removeprefix(f"{domain}/")


def mask_file(root: Path, item_id: str, mask_sha256: str) -> Path | None:
    """An answer's own mask, in the inbox or where a merge put it; None where it is in neither."""
    name = f"{mask_sha256}.png"
    places = (root / layout.INBOX / name, answers_dir(root, item_id) / name)
    return next((place for place in places if place.exists()), None)


def returned_key(item_id: str, version: str) -> str:
    """The audit event of sending an unreadable version of an answer back with the reason."""
    return f"returned/{item_id}/{version}"


def tool_facts_path(root: Path, domain: str) -> Path:
    """What a merge keeps beside the annotations so that the ledger can be made again."""
    return root / layout.annotations_dir(domain) / "tool.json"


def record_ingest(session: Session, workspace: Workspace, domain: str, number: int = 1) -> None:
    """The domain and its samples, from the tag of its arrival or of the images that joined it."""
    samples = workspace.manifest_at(ingest_tag(domain, number))
    hashes = {s.sample_id: s.image_sha256 for s in samples if s.domain == domain}
    repository.add_domain(session, name=domain)
    repository.add_samples(session, domain=domain, image_sha256=hashes)
    kind, key = "ingested", f"ingested/{domain}"
    if number > 1:
        kind, key = "extended", f"extended/{domain}/{number}"
    repository.record_event(session, kind=kind, who=WHO, domain=domain, key=key)


def advice_at(workspace: Workspace, tag: str) -> Advice | None:
    """What a computed round says about stopping; None for a round that did not say it yet."""
    if not workspace.exists_at(tag, layout.STOPPING):
        return None
    return parse_advice(workspace.file_at(tag, layout.STOPPING))


def asked_at(workspace: Workspace, tag: str) -> list[QueryRow]:
    """What a computed round asks people for, as tagged; nothing where a stopping rule closed it."""
    return query_at(workspace, tag, advice_at(workspace, tag))


def query_at(workspace: Workspace, tag: str, advice: Advice | None) -> list[QueryRow]:
    """As `asked_at`, where the round's advice was read before."""
    if advice and advice.closes:
        return []
    return parse_query(workspace.file_at(tag, layout.QUERY))


def record_query(
    session: Session, domain: str, round_index: int, query: Iterable[QueryImage]
) -> None:
    """The round and what it asks for."""
    repository.add_round(session, domain=domain, round_index=round_index)
    items = [
        repository.NewQueryItem(
            sample_id=image.sample_id,
            rank=image.rank,
            score=image.score,
            source=image.source,
            reason=image.reason,
            regions=_regions(image),
            expected_minutes=image.minutes,
        )
        for image in query
    ]
    repository.upsert_query_items(session, domain, round_index, items)


def _regions(image: QueryImage) -> list[dict[str, Any]] | None:
    """Every box with the row of the query that asks for it; None for a whole image."""
    return [
        {"box": list(box), "rank": row.rank, "score": row.score, "source": row.source}
        | {"reason": row.reason}
        for row in image.rows
        for box in row.regions
    ] or None


def boxes_of(item: QueryItem, *, source: str | None = None) -> tuple[Box, ...]:
    """The regions that a query item asks for, all or those of one source; () = the whole image."""
    return tuple(
        Box(*region["box"])
        for region in item.regions or ()
        if source is None or region["source"] == source
    )


def is_audit(item: QueryItem) -> bool:
    """Whether it, or one of its regions, was drawn at random."""
    return bool(boxes_of(item, source="audit")) if item.regions else item.source == "audit"


def background_at(workspace: Workspace, tag: str) -> str | None:
    """The class of what people left bare, in the question of a round by its tag; None = unknown.

    By params.yaml as tagged, whatever it says now: an answer keeps its meaning.
    """
    params = workspace.file_at(tag, layout.PARAMS).yaml()
    return background_in(params)


def background_in(params: Mapping[str, Any]) -> str | None:
    """`annotation.background` of a params.yaml; None in those of older versions."""
    found = (params.get("annotation") or {}).get("background")
    return None if found is None else str(found)


def background_of(workspace: Workspace, item: QueryItem) -> str | None:
    """As `background_at`, of the round that asked for an item."""
    return background_at(workspace, round_tag(item.domain, item.round_index))


def corrects(item: QueryItem, params: Mapping[str, Any]) -> bool:
    """Whether a question was to correct a pre-annotation, by the params.yaml of its round.

    What was drawn at random is painted whole, and so is what was asked before there was a teacher.
    """
    unit = (params.get("acquire") or {}).get("query_unit")
    return unit == "correction" and item.source == "strategy" and not item.regions


def corrected_by(workspace: Workspace, item: QueryItem) -> bool:
    """As `corrects`, by the tag of the round that asked for an item."""
    tag = round_tag(item.domain, item.round_index)
    return corrects(item, workspace.file_at(tag, layout.PARAMS).yaml())


def corrected_among(workspace: Workspace, items: Iterable[QueryItem]) -> set[str]:
    """Ids of the items for which `corrected_by` holds; params.yaml is read once for each round."""
    said: dict[str, Mapping[str, Any]] = {}
    found = set()
    for item in items:
        tag = round_tag(item.domain, item.round_index)
        if tag not in said:
            said[tag] = workspace.file_at(tag, layout.PARAMS).yaml()
        if corrects(item, said[tag]):
            found.add(item.item_id)
    return found


def record_round(session: Session, workspace: Workspace, domain: str, round_index: int) -> None:
    """Query, checkpoints, measurements and completed stages, all from the tag `<domain>/r<k>`."""
    tag = round_tag(domain, round_index)
    record_query(session, domain, round_index, by_image(asked_at(workspace, tag)))
    for stage in STAGES:
        note(session, "stage_completed", domain, round_index, subject=stage)
    note(session, "sealed", domain, round_index)
    manifest = workspace.manifest_at(tag)
    trained_on = {s.sample_id: s.mask_sha256 for s in manifest if s.labelled}
    if not trained_on:
        return  # a cold start trains nothing, so there is no checkpoint
    params_sha256 = hashlib.sha256(workspace.show(tag, layout.PARAMS)).hexdigest()
    weights = workspace.locked_outs(tag)
    for kind, folder in (("baseline", layout.BASELINE), ("teacher", layout.TEACHER)):
        repository.record_checkpoint(
            session,
            domain=domain,
            round_index=round_index,
            kind=kind,
            params_sha256=params_sha256,
            weights_sha256=weights[folder.as_posix()],
            trained_on=trained_on,
        )
        _record_measurements(session, workspace, domain, round_index, kind)


def _record_measurements(
    session: Session, workspace: Workspace, domain: str, round_index: int, kind: str
) -> None:
    evaluation = workspace.evaluation_at(round_tag(domain, round_index))
    for evaluated, splits in evaluation[kind].items():
        for split, result in splits.items():
            if result["miou"] is None:  # not yet measurable, so no fact
                continue
            repository.record_measurement(
                session,
                domain=domain,
                round_index=round_index,
                kind=kind,
                evaluated_domain=evaluated,
                split=split,
                metric="miou",
                value=result["miou"],
            )


def record_turn(session: Session, domain: str, round_index: int) -> None:
    """A round whose labels are tagged was published and merged."""
    for kind in ("published", "merged"):
        note(session, kind, domain, round_index)
