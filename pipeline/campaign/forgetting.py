"""What a new domain cost the older ones: evaluation matrix, backward transfer, forgetting.

R[i, j] is the mIoU on domain j's val images of the teacher after the last round of domain i, in
order of arrival (Lopez-Paz and Ranzato 2017); forgetting is how far the last row lies below the
best of the rows before it (Chaudhry et al. 2018). What was not measurable stays None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.reading import Content, content_of

Ious = dict[str, float | None]

NOT_YET = "not yet measurable"
DECIMALS = (
    6  # as metrics/evaluation.json has them: a drop of exactly the tolerance is not beyond it
)


@dataclass(frozen=True, kw_only=True)
class TeacherRow:
    """The teacher after the last round of a domain; the last row is the newest round's."""

    domain: str
    tag: str
    miou: Ious
    """By domain, in [0, 1]; no key = the domain had not arrived."""
    num_images: dict[str, int]
    """Val images, by domain."""
    iou: dict[str, Ious]
    """By domain and class."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An older domain: the best that was reached on it, and what is left of that."""

    domain: str
    best_tag: str
    best: float
    now: float
    num_images: int
    """Val images that judge now."""
    num_images_then: int

    @property
    def drop(self) -> float:
        """Forgetting F_j: mIoU lost since the best; negative = better than ever."""
        return _rounded(self.best - self.now)


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """The matrix of a round, and what follows from it; metrics/forgetting.json."""

    rows: tuple[TeacherRow, ...]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of the drop of an older domain, 95 %, over val images; no key = not known."""

    @property
    def domains(self) -> list[str]:
        """Columns and rows, in order of arrival."""
        return [row.domain for row in self.rows]

    @property
    def older(self) -> list[str]:
        """All domains but the newest."""
        return self.domains[:-1]

    def matrix(self, class_name: str | None = None) -> list[list[float | None]]:
        """R[i, j] = mIoU, or IoU of a class, after domain i on domain j; None = not measurable."""
        return [[_cell(row, domain, class_name) for domain in self.domains] for row in self.rows]

    def backward_transfer(self, class_name: str | None = None) -> float | None:
        """Mean over older domains of R[T, j] - R[j, j]; None where none is measurable."""
        R = self.matrix(class_name)
        known = [
            now - then
            for j in range(len(self.older))
            if (now := R[-1][j]) is not None and (then := R[j][j]) is not None
        ]
        return _rounded(sum(known) / len(known)) if known else None

    def forgetting(self, domain: str, class_name: str | None = None) -> float | None:
        """Maximum over earlier rows of R[l, j] - R[T, j]; None where not measurable."""
        j = self.domains.index(domain)
        *before, now = (row[j] for row in self.matrix(class_name))
        known = [value for value in before if value is not None]
        return _rounded(max(known) - now) if known and now is not None else None

    def kept(self) -> list[Kept]:
        """The older domains whose forgetting is measurable."""
        found = []
        for domain in self.older:
            now = self.rows[-1].miou.get(domain)
            scores = {place: row.miou.get(domain) for place, row in enumerate(self.rows[:-1])}
            known = {place: score for place, score in scores.items() if score is not None}
            if now is None or not known:
                continue
            # The latest of equals, whose val images are most like today's.
            best = max(known, key=lambda place: (known[place], place))
            found.append(
                Kept(
                    domain=domain,
                    best_tag=self.rows[best].tag,
                    best=known[best],
                    now=now,
                    num_images=self.rows[-1].num_images.get(domain, 0),
                    num_images_then=self.rows[best].num_images.get(domain, 0),
                )
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A round's forgetting held against what is tolerated."""

    found: Forgetting
    tolerance: float
    beyond: tuple[str, ...]
    """Older domains that lost more than the tolerance."""
    refused: bool = False
    """Whether this round's teacher is therefore not offered."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for metrics/forgetting.json and `ssl-loop status --json`."""
        found = self.found
        names = list(
            dict.fromkeys(name for row in found.rows for at in row.iou.values() for name in at)
        )
        return {
            "domains": found.domains,
            "matrix": found.matrix(),
            "backward_transfer": found.backward_transfer(),
            "backward_transfer_per_class": {name: found.backward_transfer(name) for name in names},
            "forgetting": {domain: found.forgetting(domain) for domain in found.older},
            "forgetting_per_class": {
                domain: {name: found.forgetting(domain, name) for name in names}
                for domain in found.older
            },
            "tolerance": self.tolerance,
            "beyond": list(self.beyond),
            "rows": [asdict(row) for row in found.rows],
            "intervals": {domain: list(ends) for domain, ends in found.intervals.items()},
        }


def row_of(domain: str, tag: str, evaluation: Mapping[str, Any]) -> TeacherRow:
    """From metrics/evaluation.json of the last round of `domain`."""
    val = {name: splits["val"] for name, splits in evaluation["teacher"].items()}
    return TeacherRow(
        domain=domain,
        tag=tag,
        miou={name: result["miou"] for name, result in val.items()},
        num_images={name: result["num_images"] for name, result in val.items()},
        iou={name: result["iou"] for name, result in val.items()},
    )


def judge(
    found: Forgetting,
    tolerance: float,
    *,
    accepted: Sequence[Forgetting] = (),
    refuse: bool = False,
) -> Judgement:
    """Beyond: more than the tolerance below the best, or below what people accepted since."""
    beyond = []
    for kept in found.kept():
        taken = [other.rows[-1].miou.get(kept.domain) for other in accepted]
        reference = min([kept.best, *(value for value in taken if value is not None)])
        if _rounded(reference - kept.now) > tolerance:
            beyond.append(kept.domain)
    return Judgement(
        found=found,
        tolerance=tolerance,
        beyond=tuple(beyond),
        refused=refuse and bool(beyond),
    )


def describe(judged: Judgement) -> list[str]:
    """In sentences, one per older domain and one on all of them; [] with a single domain."""
    found = judged.found
    if not found.older:
        return []
    measurable = {kept.domain: kept for kept in found.kept()}
    said = [
        _about(measurable[domain], judged)
        if domain in measurable
        else f"{domain}: whether it is forgotten is {NOT_YET}; it takes validation images of it, "
        "and a teacher judged on them before and now."
        for domain in found.older
    ]
    transfer = found.backward_transfer()
    if transfer is not None:
        said.append(
            f"Backward transfer {transfer:+.3f}: so much better or worse is the teacher on older "
            "domains than when each was finished, on average."
        )
    if judged.refused:
        tag = found.rows[-1].tag
        said.append(
            f"The teacher of {tag} is refused: earlier models stay the newest. `ssl-loop round "
            f"accept {tag}` takes it all the same; a later round that keeps the older domains is "
            "offered by itself."
        )
    return said


def _about(kept: Kept, judged: Judgement) -> str:
    images = f"{kept.num_images} val image{'' if kept.num_images == 1 else 's'}"
    if kept.num_images_then != kept.num_images:
        images += f", {kept.num_images_then} then"
    interval = judged.found.intervals.get(kept.domain)
    if interval:
        images += f"; drop with 95 % confidence {interval[0]:.3f} to {interval[1]:.3f}"
    numbers = f"{kept.best:.3f} mIoU after {kept.best_tag}, {kept.now:.3f} now ({images})"
    if kept.domain in judged.beyond:
        return (
            f"{kept.domain} fell by {kept.drop:.3f}: {numbers}, more than "
            f"loop.forgetting_tolerance {judged.tolerance:g}."
        )
    if kept.drop > judged.tolerance:
        return f"{kept.domain} fell by {kept.drop:.3f}, as was accepted: {numbers}."
    return f"{kept.domain} is kept within {judged.tolerance:g}: {numbers}."


def parse_forgetting(content: Content, *, source: str = "metrics/forgetting.json") -> Forgetting:
    """The matrix of what `Judgement.to_dict` gave; whatever follows from it is computed again."""
    return content_of(content, source).json(Forgetting)


def _cell(row: TeacherRow, domain: str, class_name: str | None) -> float | None:
    if class_name is None:
        return row.miou.get(domain)
    return row.iou.get(domain, {}).get(class_name)


def _rounded(value: float) -> float:
    return round(value, DECIMALS)
