"""Answers that were accepted as the model had them, in a moment, where it was unsure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.repository.annotations import accepted_items, lead_time
from db.repository.queries import query_items, rounds
from db.tables import Annotation, QueryItem, QuerySource

BLIND_WITHIN_S = 2.0  # nobody looks at all of an image in less; a page takes about one to open


@dataclass(frozen=True, kw_only=True)
class BlindAnswer:
    """One answer that counts."""

    item_id: str
    annotator: str
    lead_s: float
    uncertainty: float
    """The score that the image was asked for by, in [0, 1]."""
    within_s: float = BLIND_WITHIN_S
    """What counts as a moment."""


def accepted_blind(session: Session, domain: str) -> list[BlindAnswer]:
    """A domain's answers without one changed pixel, submitted within BLIND_WITHIN_S.

    Of images that are at least as uncertain as half of those asked for with them: the others are
    often right as they are. Without a model (cold start) there was nothing to accept.
    """
    given = accepted_items(session)
    return [
        answer
        for round_index in rounds(session, domain)
        for answer in _of_round(query_items(session, domain, round_index), given)
    ]


def _of_round(items: Sequence[QueryItem], given: dict[str, Annotation]) -> list[BlindAnswer]:
    unsure = statistics.median(item.score for item in items) if items else 0.0
    found = []
    for item in items:
        row = given.get(item.item_id)
        if row is None or item.source is QuerySource.COLD_START or item.score < unsure:
            continue
        lead_s = lead_time(row.lead_time_s)
        if lead_s is not None and lead_s <= BLIND_WITHIN_S and row.corrected_pixels == 0:
            found.append(
                BlindAnswer(
                    item_id=item.item_id,
                    annotator=row.annotator,
                    lead_s=lead_s,
                    uncertainty=item.score,
                )
            )
    return found
