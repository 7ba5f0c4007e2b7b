"""Two people's answers to one image that differ: said on the task, which shows both.

A third look decides: whoever stars one of the answers in the tool, or corrects one and stars it,
says which of them counts, whatever comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sqlalchemy.orm import Session

from db.repository import annotation_versions, standing
from db.session import session_scope
from db.tables import Annotation, Verdict
from flows.annotators.annotator import ToolTask
from flows.annotators.label_studio_project import DISAGREEMENT, RETURNED
from flows.answers.holdings import Holdings
from flows.answers.send_back import asked_reason
from flows.ledger.records import mask_file
from flows.loop import Loop
from pipeline.data.formats.images import load_mask
from pipeline.ids import sample_of
from pipeline.records.answers import Mask, compare
from pipeline.types import MAX_CLASSES


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """The answers of several people to one item, each one's newest."""

    item_id: str
    answers: tuple[Annotation, ...]

    @property
    def decided(self) -> bool:
        """Whether a person starred one."""
        return any(answer.ground_truth for answer in self.answers)


def side_by_side(session: Session, domain: str) -> list[SideBySide]:
    """Items of a domain that two people or more gave masks for."""
    by_item: dict[str, dict[str, Annotation]] = {}
    for row in standing(annotation_versions(session, domain)):
        if row.verdict is Verdict.ACCEPTED:
            by_item.setdefault(row.item_id, {})[row.annotator] = row
    return [
        SideBySide(item_id=item_id, answers=tuple(answers.values()))
        for item_id, answers in by_item.items()
        if len(answers) > 1
    ]


def jaccard(counts: Sequence[tuple[int, int, int]]) -> float | None:
    """Mean over the classes, in [0, 1], of pixels by (one's class, other's class); None of none."""
    both: dict[int, int] = {}
    either: dict[int, int] = {}
    for one, other, pixels in counts:
        for index in {one, other}:
            either[index] = either.get(index, 0) + pixels
        if one == other:
            both[one] = both.get(one, 0) + pixels
    shares = [both.get(index, 0) / pixels for index, pixels in either.items()]
    return sum(shares) / len(shares) if shares else None


def mark_disagreements(loop: Loop, domain: str, held: Holdings) -> None:
    """Say on tasks whose answers differ that they do, and take it back once they do not."""
    with session_scope(loop.ledger, read_only=True) as session:
        several = side_by_side(session, domain)
    if not several:
        return
    bound = loop.read_params().annotation.disagree_below
    for one in several:
        least = None if one.decided else _least_agreement(loop, one)
        differ = least is not None and least < bound
        for task in held.tasks.get(one.item_id, []):
            _note(loop, task, least if differ else None)


def masks_of(loop: Loop, one: SideBySide) -> dict[str, Mask]:
    """`annotator -> mask` of the answers whose masks are at hand: in the inbox, or merged."""
    merged = {sample.sample_id: sample for sample in loop.workspace.manifest()}
    sample = merged.get(sample_of(one.item_id))
    found = {}
    for row in one.answers:
        file = mask_file(loop.root, one.item_id, str(row.mask_sha256))
        if file is None and sample and sample.mask_sha256 == row.mask_sha256:
            file = loop.root / sample.mask
        if file is not None:
            found[row.annotator] = load_mask(file, MAX_CLASSES)
    return found


def _least_agreement(loop: Loop, one: SideBySide) -> float | None:
    """Of any two of the answers; None where their masks are not at hand."""
    pairs = combinations(masks_of(loop, one).values(), 2)
    known = [value for pair in pairs if (value := jaccard(compare(*pair))) is not None]
    return min(known, default=None)


def _note(loop: Loop, task: ToolTask, agreement: float | None) -> None:
    if task.data.get(RETURNED) == "yes" or (agreement is None and not task.data.get(DISAGREEMENT)):
        return
    reason = asked_reason(loop, task.item_id)
    wanted = {"reason": reason, DISAGREEMENT: ""}
    if agreement is not None:
        wanted = {
            "reason": f"TWO ANSWERS DIFFER (agreement {agreement:.2f}): look at both, and star the "
            f"right one, or correct one and star that. ({reason})",
            DISAGREEMENT: "yes",
        }
    if not wanted.items() <= task.data.items():
        loop.annotator.note(task, wanted)
