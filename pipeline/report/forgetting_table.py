"""Are the older domains kept? The evaluation matrix as a heat map, and what each class lost."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.campaign.forgetting import Forgetting, Judgement, describe
from pipeline.report.data import Report
from pipeline.report.text import change as change_in_words
from pipeline.report.text import value


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One mIoU of the matrix."""

    text: str
    """The number, that it is not yet measurable, or "" where the domain had not arrived."""
    known: bool
    strength: float
    """Of the colour, in percent: most for the best of its column, least for the worst."""
    own: bool
    """Whether the row is of the column's own domain."""


@dataclass(frozen=True, kw_only=True)
class ClassLoss:
    """One class on one older domain."""

    domain: str
    name: str
    colour: str
    best: float
    now: float
    change: str


NUM_LOSSES = 12  # of classes that are shown; metrics/forgetting.json has all
SPAN = 0.1  # of mIoU between the palest and the strongest cell at least, so that noise stays pale
STRENGTHS = (8.0, 55.0)  # percent; text stays readable on the strongest


def judged(report: Report) -> Judgement | None:
    """What there is to show: nothing while there is a single domain."""
    found = report.forgetting
    return found if found and found.found.older else None


def sentences(report: Report) -> list[str]:
    """For someone who reads nothing else."""
    found = judged(report)
    return describe(found) if found else []


def heat_rows(report: Report) -> list[tuple[str, list[Cell]]]:
    """Tag and cells of every row of the matrix."""
    found = judged(report)
    if found is None:
        return []
    columns = [_column(found.found, domain) for domain in found.found.domains]
    cells = zip(*columns, strict=True)
    return [(row.tag, list(each)) for row, each in zip(found.found.rows, cells, strict=True)]


def class_losses(report: Report) -> list[ClassLoss]:
    """Classes of older domains that were measurable before and now, largest loss first."""
    found = judged(report)
    if found is None:
        return []
    losses = []
    for domain in found.found.older:
        for name, colour in zip(report.class_names, report.class_colours, strict=True):
            drop = found.found.forgetting(domain, name)
            now = found.found.rows[-1].iou.get(domain, {}).get(name)
            if drop is not None and now is not None:
                best = now + drop
                change = change_in_words(now, best)
                loss = ClassLoss(
                    domain=domain, name=name, colour=colour, best=best, now=now, change=change
                )
                losses.append((-drop, domain, loss))
    return [loss for *_, loss in sorted(losses, key=lambda each: each[:2])[:NUM_LOSSES]]


def _column(found: Forgetting, domain: str) -> list[Cell]:
    known = [score for row in found.rows if (score := row.miou.get(domain)) is not None]
    top = max(known, default=0.0)
    span = max(SPAN, top - min(known, default=0.0))
    pale, dark = STRENGTHS
    cells = []
    for row in found.rows:
        score = row.miou.get(domain)
        share = 0.0 if score is None else 1 - (top - score) / span
        cells.append(
            Cell(
                text=value(score, 3) if domain in row.miou else "",
                known=score is not None,
                strength=round(pale + (dark - pale) * share, 1),
                own=row.domain == domain,
            )
        )
    return cells
