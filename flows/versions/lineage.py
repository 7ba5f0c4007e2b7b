"""`ssl-loop lineage`: which annotations a model learnt from, and which models saw an image.

Said twice, by the ledger and by git's history with the records that DVC keeps, and compared: the
ledger is quick and may be lost, git is what the training really read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from db.repository import annotation_versions, checkpoints
from db.session import session_scope
from db.tables import Verdict
from flows.ledger.records import AnnotationRecord, record_of
from flows.loop import Loop
from flows.versions.find_models import Model
from flows.workspace.dvc.dvc_cache import LOST, Cache, cache_of, outs_at
from flows.workspace.position import round_tags
from pipeline import layout
from pipeline.errors import DataError
from pipeline.ids import round_tag_of, sample_of
from pipeline.reading import read
from pipeline.records.manifest import Sample


@dataclass(frozen=True, kw_only=True)
class Label:
    """One mask that a model learnt from, and the answer that gave it; None for ground truth."""

    sample_id: str
    mask_sha256: str  # of the mask as trained on; of regions, put together from several answers
    annotation_sha256: str | None  # of the answer as the tool gave it
    annotator: str | None
    when: str | None  # in the tool, UTC, ISO 8601
    asked_in: str | None  # <domain>/r<k>
    lead_time_s: float | None


@dataclass(frozen=True, kw_only=True)
class ModelLineage:
    """What models learnt from, where both witnesses agree or one is silent."""

    models: tuple[Model, ...]
    labels: tuple[Label, ...]
    witness: str  # ledger | git: who said it
    agree: bool | None  # None where only one can say
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One model that an image played a part for."""

    tag: str
    kind: str  # baseline | teacher
    weights: str
    role: str  # labelled | unlabelled | judged: chosen by, never learnt from
    mask_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class SampleLineage:
    """All models of the line that saw one image."""

    sample_id: str
    sightings: tuple[Sighting, ...]
    agree: bool | None
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Answer:
    item_id: str
    annotation_sha256: str
    mask_sha256: str
    annotator: str
    when: datetime
    tool_annotation_id: int
    lead_time_s: float | None

    @property
    def sample_id(self) -> str:
        return sample_of(self.item_id)

    @property
    def asked_in(self) -> str:
        return round_tag_of(self.item_id)


def lineage_of_models(
    loop: Loop, models: Sequence[Model], cache: Cache | None = None
) -> ModelLineage:
    """What models of one round learnt from: by the ledger, checked against git, or by git."""
    first = models[0]
    cache = cache or cache_of(loop.workspace)
    by_git, by_ledger = labels_by_git(loop, first.tag, cache), labels_by_ledger(loop, first)
    differences: list[str] = []
    if by_git is not None and by_ledger is not None:
        differences = _differences({*by_ledger}, {*by_git})
    # Where they differ git is right: the training read its files.
    ledger_says = by_ledger is not None and not differences
    return ModelLineage(
        models=tuple(models),
        labels=tuple((by_ledger if ledger_says else by_git) or ()),
        witness="ledger" if ledger_says else "git",
        agree=None if by_git is None or by_ledger is None else not differences,
        differences=tuple(differences),
    )


def labels_by_ledger(loop: Loop, model: Model) -> list[Label] | None:
    """From the checkpoint's row and the annotations; None where the ledger has no such row."""
    with session_scope(loop.ledger, read_only=True) as session:
        rows = [
            row.trained_on
            for row in checkpoints(session, model.domain)
            if (row.round_index, row.kind) == (model.round_index, model.kind)
        ]
        if not rows:
            return None
        answers = [
            _Answer(
                item_id=row.item_id,
                annotation_sha256=row.raw_sha256,
                mask_sha256=str(row.mask_sha256),
                annotator=row.annotator,
                when=row.updated_at,
                tool_annotation_id=row.tool_annotation_id,
                lead_time_s=row.lead_time_s,
            )
            for row in annotation_versions(session)
            if row.verdict is Verdict.ACCEPTED
        ]
    asked = _tags_before(loop, model)
    return _labels(rows[0], [answer for answer in answers if answer.asked_in in asked])


def _tags_before(loop: Loop, model: Model) -> set[str]:
    """Rounds whose answers a model may have learnt from."""
    rounds = round_tags(loop.read_params().domains, loop.workspace.tags_merged())
    line = [tag for _, _, tag in rounds]
    return set(line[: line.index(model.tag)])


def labels_by_git(loop: Loop, tag: str, cache: Cache) -> list[Label] | None:
    """From the manifest and the records of a tag; None where DVC's cache lacks the records."""
    workspace = loop.workspace
    samples = _manifest(loop, tag)
    trained_on = {row.sample_id: row.mask_sha256 for row in samples if row.labelled}
    answers = []
    for out in outs_at(workspace.git, tag):
        if out.path.startswith(f"{layout.DATA}/") and out.path.endswith("/annotations"):
            files = cache.files(out)
            if files is None or not _all_there(cache, files.values()):
                return None
            answers += [
                _answer(record_of(read(cache.object(md5), remedy=LOST)))
                for path, md5 in files.items()
                if path.endswith(f"-{Verdict.ACCEPTED}.json")
            ]
    return _labels(trained_on, answers)


def _all_there(cache: Cache, hashes: Iterable[str]) -> bool:
    return all(cache.object(md5).exists() for md5 in hashes)


def _answer(record: AnnotationRecord) -> _Answer:
    return _Answer(
        item_id=record.item_id,
        annotation_sha256=record.raw_sha256,
        mask_sha256=str(record.mask_sha256),
        annotator=record.annotator,
        when=datetime.fromisoformat(record.updated_at).astimezone(UTC),
        tool_annotation_id=record.tool_annotation_id,
        lead_time_s=record.lead_time_s,
    )


def _labels(trained_on: dict[str, str], answers: Sequence[_Answer]) -> list[Label]:
    """Every mask with its answer: the first that gave exactly it, or the newest of each region."""
    given: dict[str, list[_Answer]] = {}
    for answer in sorted(
        answers, key=lambda one: (one.when, one.tool_annotation_id, one.annotation_sha256)
    ):
        given.setdefault(answer.sample_id, []).append(answer)
    labels: list[Label] = []
    for sample_id, mask_sha256 in sorted(trained_on.items()):
        of_sample = given.get(sample_id, [])
        same = [answer for answer in of_sample if answer.mask_sha256 == mask_sha256]
        pieces = {answer.item_id: answer for answer in of_sample}
        chosen: list[_Answer | None] = [*(same[:1] or pieces.values())]
        labels += [_label(sample_id, mask_sha256, answer) for answer in chosen or [None]]
    return labels


def _label(sample_id: str, mask_sha256: str, answer: _Answer | None) -> Label:
    return Label(
        sample_id=sample_id,
        mask_sha256=mask_sha256,
        annotation_sha256=answer.annotation_sha256 if answer else None,
        annotator=answer.annotator if answer else None,
        when=answer.when.isoformat() if answer else None,
        asked_in=answer.asked_in if answer else None,
        lead_time_s=answer.lead_time_s if answer else None,
    )


def lineage_of_sample(loop: Loop, sample_id: str) -> SampleLineage:
    """Every model of the line that saw an image; DataError with near ids for an unknown one."""
    known = [row.sample_id for row in _manifest(loop, "HEAD")]
    if sample_id not in known:
        near = get_close_matches(sample_id, known, n=5, cutoff=0.4)
        hint = f"near it: {', '.join(near)}" if near else "ids are <domain>/<name of the file>"
        raise DataError(f"{sample_id}: no such sample; {hint}")
    sightings: list[Sighting] = []
    for _, _, tag in round_tags(loop.read_params().domains, loop.workspace.tags_merged()):
        sightings += _sightings(loop, tag, sample_id)
    by_git = {
        f"{one.tag} {one.kind}: {one.mask_sha256}" for one in sightings if one.role == "labelled"
    }
    with session_scope(loop.ledger, read_only=True) as session:
        rows = checkpoints(session)
        by_ledger = {
            f"{row.domain}/r{row.round_index} {row.kind}: {row.trained_on[sample_id]}"
            for row in rows
            if sample_id in row.trained_on
        }
    differences = _differences(by_ledger, by_git)
    return SampleLineage(
        sample_id=sample_id,
        sightings=tuple(sightings),
        agree=not differences if rows else None,
        differences=tuple(differences) if rows else (),
    )


def _sightings(loop: Loop, tag: str, sample_id: str) -> list[Sighting]:
    samples = _manifest(loop, tag)
    found = [row for row in samples if row.sample_id == sample_id]
    if not found or not any(row.labelled for row in samples):
        return []  # not there yet, or nothing was trained
    weights = loop.workspace.locked_outs(tag)
    roles = _roles(found[0], loop.workspace.file_at(tag, layout.PARAMS).yaml())
    return [
        Sighting(
            tag=tag,
            kind=kind,
            weights=weights[(layout.MODELS / kind).as_posix()],
            role=role,
            mask_sha256=found[0].mask_sha256 or None if role != "unlabelled" else None,
        )
        for kind, role in roles
    ]


def _roles(sample: Sample, params: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind, role) as `pipeline.training.job` gives its streams out."""
    method = params.get("method", {})
    roles = [(kind, "labelled") for kind in ("baseline", "teacher") if sample.labelled]
    transductive = method.get("transductive", False) and sample.split != "pool"
    if method.get("name") != "supervised" and (sample.unlabelled or transductive):
        roles.append(("teacher", "unlabelled"))
    if sample.split == "val" and sample.mask:
        roles += [(kind, "judged") for kind in ("baseline", "teacher")]
    return roles


def _manifest(loop: Loop, tag: str) -> list[Sample]:
    return loop.workspace.manifest_at(tag)


def _differences(by_ledger: set[Any], by_git: set[Any]) -> list[str]:
    said = [f"the ledger alone says {one}" for one in by_ledger - by_git]
    return sorted(said + [f"git alone says {one}" for one in by_git - by_ledger])
