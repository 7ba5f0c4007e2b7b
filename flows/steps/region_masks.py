"""Masks of images that people were asked for region by region: put together from every answer.

Each answer stays as it was given, a mask of its own beside its record; what training reads is made
of them anew with every merge, so that an edit of an early answer finds its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from db.repository import accepted_items, item_states, query_items, rounds
from db.tables import Annotation, ItemState, QueryItem, QuerySource
from flows.ledger.records import answers_dir, boxes_of, mask_file
from flows.loop import keep_mask
from pipeline import layout
from pipeline.data.formats.images import load_mask
from pipeline.errors import WorkspaceError
from pipeline.files import replacing
from pipeline.records.manifest import Sample, with_mask
from pipeline.records.regions import Box, boxes_text
from pipeline.types import IGNORE, MAX_CLASSES


@dataclass(kw_only=True)
class Answers:
    """What people said about one image, round by round."""

    accepted: list[tuple[QueryItem, Annotation]] = field(default_factory=list)
    settled: list[Box] = field(default_factory=list)
    """Regions that need not be asked for again: answered or refused."""

    @property
    def whole(self) -> bool:
        """Whether one of them is of the whole image."""
        return any(not item.regions for item, _ in self.accepted)


def partial_answers(session: Session, domains: Iterable[str]) -> dict[str, Answers]:
    """`sample_id -> answers` of every image that was ever asked for by regions."""
    found: dict[str, Answers] = {}
    accepted = accepted_items(session)
    for domain in domains:
        for item, state in _items(session, domain):
            of_image = found.setdefault(item.sample_id, Answers())
            if item.item_id in accepted:
                of_image.accepted.append((item, accepted[item.item_id]))
            if state.settled:
                of_image.settled += boxes_of(item)
    return {sample_id: given for sample_id, given in found.items() if given.settled}


def audit_picks(session: Session, domain: str) -> list[str]:
    """Samples drawn uniformly at random, in the order in which they were asked for.

    One of which a region was drawn counts when that was answered before anything else of it: what
    teaches already is no judge.
    """
    picks: list[str] = []
    known: set[str] = set()
    accepted = accepted_items(session)
    for item, _ in _items(session, domain):
        drawn = item.source is QuerySource.AUDIT
        if item.regions:
            answered = item.item_id in accepted and item.sample_id not in known
            drawn = answered and bool(boxes_of(item, source=QuerySource.AUDIT))
        if drawn:
            picks.append(item.sample_id)
        if item.item_id in accepted:
            known.add(item.sample_id)
    return picks


def with_regions(root: Path, sample: Sample, given: Answers, *, val: bool) -> Sample:
    """The sample with the mask that its answers make, the later over the earlier.

    As a val image it shows what was drawn at random alone, so that it judges without bias.
    """
    regions = "" if given.whole else boxes_text(given.settled)
    if not given.accepted:
        return replace(sample, regions=regions)
    mask_HW = put_together(pieces_of(root, given, val=val))
    mask = layout.sample_png(layout.masks_dir(sample.domain), Path(sample.image).stem)
    known = with_mask(
        sample,
        mask=mask.as_posix(),
        sha256=keep_mask(root, mask_HW),
        split="val" if val else sample.split,
    )
    return replace(known, regions=regions)


Piece = tuple[list[tuple[slice, slice]], npt.NDArray[np.uint8]]


def pieces_of(root: Path, given: Answers, *, val: bool) -> list[Piece]:
    """Where each accepted answer counts, and its mask, oldest first."""
    return [
        (_boxes(item, val=val), load_mask(_piece(root, item.item_id, answer), MAX_CLASSES))
        for item, answer in given.accepted
    ]


def put_together(pieces: Sequence[Piece]) -> npt.NDArray[np.uint8]:
    """One mask of all pieces, the later over the earlier; 255 where nobody answered."""
    mask_HW = np.full_like(pieces[0][1], IGNORE)
    for boxes, piece_HW in pieces:
        for slices in boxes:
            mask_HW[slices] = piece_HW[slices]
    return mask_HW


def _boxes(item: QueryItem, *, val: bool) -> list[tuple[slice, slice]]:
    if not item.regions:
        return [(slice(None), slice(None))]
    return [box.slices for box in boxes_of(item, source=QuerySource.AUDIT if val else None)]


def place_pieces(root: Path, given: Iterable[Answers]) -> None:
    """Put every answer's own mask beside its record, where git and DVC keep it."""
    for answers in given:
        for item, answer in answers.accepted:
            source = _piece(root, item.item_id, answer)
            target = answers_dir(root, item.item_id) / f"{answer.mask_sha256}.png"
            if source != target:
                with replacing(target) as beside:
                    shutil.copyfile(source, beside)


def _piece(root: Path, item_id: str, answer: Annotation) -> Path:
    found = mask_file(root, item_id, str(answer.mask_sha256))
    if found is None:
        raise WorkspaceError(
            f"{item_id}: the mask of an answer is missing ({answer.mask_sha256}.png); `ssl-loop "
            "ledger rebuild` and the next tick pull the annotation from the tool again"
        )
    return found


def _items(session: Session, domain: str) -> Iterable[tuple[QueryItem, ItemState]]:
    for round_index in rounds(session, domain):
        states = item_states(session, domain, round_index)
        for item in query_items(session, domain, round_index):
            yield item, states[item.item_id]
