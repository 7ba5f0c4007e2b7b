"""How far people agree where several of them answered the same question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from db.session import session_scope
from flows.answers.disagreements import masks_of, side_by_side
from flows.loop import Loop
from pipeline.consensus.agreement import TOLERANCE_PX, ClassAgreement, agreement
from pipeline.consensus.joint_masks import majority, staple
from pipeline.types import IGNORE


@dataclass(frozen=True, kw_only=True)
class PairAgreement:
    """Of two people, over all images that both answered."""

    people: tuple[str, str]
    images: int
    jaccard: float | None
    """Mean over the classes, in [0, 1]."""
    boundary_f: float | None
    """As `jaccard`, of borders within TOLERANCE_PX."""


@dataclass(frozen=True, kw_only=True)
class PeoplesAgreement:
    """Of all people, over the images that two or more answered."""

    images: int
    by_class: dict[str, dict[str, float | None]]
    """`class -> jaccard and boundary_f`, of all pairs together."""
    by_pair: tuple[PairAgreement, ...]
    """In order of the names: nobody is ranked."""
    majority_unknown: float | None
    """Share of pixels on which classes tie, so that the majority says nothing; None of none."""
    staple_unlike_majority: float | None
    """Share of the other pixels to which STAPLE gives another class than the majority."""


def agreement_of(loop: Loop, domains: Iterable[str]) -> PeoplesAgreement:
    """Of the standing answers whose masks are at hand."""
    names = loop.read_params().classes
    with session_scope(loop.ledger, read_only=True) as session:
        several = [one for domain in domains for one in side_by_side(session, domain)]
    totals: dict[tuple[str, str], dict[int, ClassAgreement]] = {}
    counts: dict[tuple[str, str], int] = {}
    images = pixels = tied = decided = unlike = 0
    for one in several:
        masks = masks_of(loop, one)
        if len(masks) < 2:
            continue
        images += 1
        for first, second in combinations(sorted(masks), 2):
            pair = (first, second)
            counts[pair] = counts.get(pair, 0) + 1
            found = agreement(masks[first], masks[second])
            totals[pair] = _added(totals.get(pair, {}), found)
        voted_HW = majority(list(masks.values()))
        joint_HW = staple(list(masks.values()), len(names)).mask_HW
        known_HW = voted_HW != IGNORE
        pixels += voted_HW.size
        tied += int((~known_HW).sum())
        decided += int(known_HW.sum())
        unlike += int((known_HW & (joint_HW != voted_HW)).sum())
    everybody: dict[int, ClassAgreement] = {}
    for found in totals.values():
        everybody = _added(everybody, found)
    return PeoplesAgreement(
        images=images,
        by_class={
            names[index]: {"jaccard": one.jaccard, "boundary_f": one.boundary_f}
            for index, one in sorted(everybody.items())
        },
        by_pair=tuple(
            PairAgreement(
                people=pair,
                images=counts[pair],
                jaccard=_mean(one.jaccard for one in totals[pair].values()),
                boundary_f=_mean(one.boundary_f for one in totals[pair].values()),
            )
            for pair in sorted(totals)
        ),
        majority_unknown=tied / pixels if pixels else None,
        staple_unlike_majority=unlike / decided if decided else None,
    )


def _added(
    before: dict[int, ClassAgreement], found: dict[int, ClassAgreement]
) -> dict[int, ClassAgreement]:
    return before | {
        index: before[index].plus(one) if index in before else one for index, one in found.items()
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def agreement_lines(found: PeoplesAgreement) -> list[str]:
    """For people; nothing where nobody answered what another did."""
    if not found.images:
        return []
    lines = [f"{found.images} image(s) answered by two people or more:"]
    for name, values in found.by_class.items():
        lines.append(f"     {name}: {_words(values['jaccard'], values['boundary_f'])}")
    for pair in found.by_pair:
        who = " and ".join(pair.people)
        lines.append(f"     {who}, {pair.images} image(s): {_words(pair.jaccard, pair.boundary_f)}")
    return lines


def _words(jaccard: float | None, boundary_f: float | None) -> str:
    area = "-" if jaccard is None else f"{jaccard:.2f}"
    border = "-" if boundary_f is None else f"{boundary_f:.2f}"
    return f"Jaccard {area}, borders within {TOLERANCE_PX:.0f} px {border}"
