"""Which answers a second pair of eyes should look at first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.repository import BlindAnswer, accepted_blind, latest_accepted
from db.session import session_scope
from flows.answers.look_again import mark_for_review
from flows.loop import Loop
from flows.views.annotator_agreement import PeoplesAgreement, agreement_lines, agreement_of
from pipeline import layout
from pipeline.errors import ConfigError
from pipeline.runtime.torch_settings import settle_torch

if TYPE_CHECKING:
    from pipeline.label_errors.reviewed_masks import ReviewedMask

PAGE = layout.REPORT.with_name("review.html")


@dataclass(frozen=True, kw_only=True)
class MaskReview:
    """What may be wrong with a workspace's masks."""

    masks: tuple[ReviewedMask, ...]
    """The likeliest label error first, at most as many as asked for."""
    num_judged: int
    """Masks that were looked at."""
    annotators: dict[str, str]
    """`sample_id -> whose answer its mask is`; masks that came with the domain are not there."""
    accepted_blind: tuple[BlindAnswer, ...]
    agreement: PeoplesAgreement


def review_workspace(loop: Loop, domain: str | None, limit: int) -> MaskReview:
    """Of the merged masks of one domain, or of all; the split test is not looked at.

    Writes report/review.html with a picture of each.
    """
    settle_torch()
    from pipeline.label_errors.review_page import render_review
    from pipeline.label_errors.reviewed_masks import review_masks

    params = loop.read_params()
    if domain is not None and domain not in params.domains:
        raise ConfigError(f"--domain {domain!r}: expected one of {list(params.domains)}")
    chosen = [domain] if domain is not None else list(params.domains)
    samples = [
        sample
        for sample in loop.workspace.manifest()
        if sample.mask and sample.split != "test" and sample.domain in chosen
    ]
    found = review_masks(loop.root, params, samples)[:limit]
    with session_scope(loop.ledger, read_only=True) as session:
        counting = latest_accepted(session)
        blind = tuple(one for name in chosen for one in accepted_blind(session, name))
    merged = {sample.sample_id: sample.mask_sha256 for sample in samples}
    review = MaskReview(
        masks=tuple(found),
        num_judged=len(samples),
        annotators={
            name: row.annotator
            for name, row in counting.items()
            if merged.get(name) == row.mask_sha256
        },
        accepted_blind=blind,
        agreement=agreement_of(loop, chosen),
    )
    blind_rows = [vars(one) for one in blind]
    render_review(loop.root, params.classes, found, blind_rows, loop.root / PAGE)
    return review


def send_review(loop: Loop, domain: str | None, review: MaskReview) -> int:
    """Mark the tasks of the listed masks in the annotation tool; how many say so now."""
    doubts = {
        one.sample_id: f"painted {one.parts[0].painted}, the model sees "
        f"{'' if one.parts[0].sure else 'rather '}{one.parts[0].likeliest} near pixel "
        f"{one.parts[0].box.x}, {one.parts[0].box.y}"
        for one in review.masks
    }
    chosen = [domain] if domain is not None else list(loop.read_params().domains)
    return sum(mark_for_review(loop, name, doubts) for name in chosen)


def plain_review(review: MaskReview) -> dict[str, Any]:
    """Values for `--json`."""
    from dataclasses import asdict

    masks = [
        asdict(one) | {"score": one.score, "annotator": review.annotators.get(one.sample_id)}
        for one in review.masks
    ]
    for mask in masks:
        for part in mask["parts"]:
            part["box"] = list(part["box"])
    return {
        "num_judged": review.num_judged,
        "masks": masks,
        "accepted_blind": [asdict(one) for one in review.accepted_blind],
        "agreement": asdict(review.agreement),
    }


def review_lines(review: MaskReview, root: Path) -> list[str]:
    """For people: one line per mask and answer."""
    lines = [f"{review.num_judged} masks judged, the likeliest errors first:"]
    for place, one in enumerate(review.masks, start=1):
        part, who = one.parts[0], review.annotators.get(one.sample_id, "came with the domain")
        lines.append(
            f"{place:3d}. {one.sample_id}: painted {part.painted}, "
            f"{'' if part.sure else 'rather '}{part.likeliest} ({part.image_share:.1%} of the "
            f"image at {part.box}; {who})"
        )
    if not review.masks:
        lines.append("     none: no model that did not learn from a mask is sure against it")
    for answer in review.accepted_blind:
        lines.append(
            f"accepted unseen: {answer.item_id} by {answer.annotator} after {answer.lead_s:.1f} s, "
            f"nothing changed, uncertainty {answer.uncertainty:.2f}"
        )
    return [*lines, *agreement_lines(review.agreement), f"With pictures: {root / PAGE}"]
