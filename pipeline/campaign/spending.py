"""What people gave in a domain, beside its budget where it has one, and what is left to ask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.config.params import Params
from pipeline.records.manifest import Sample
from pipeline.records.regions import Grid


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Answers given in a domain, answers allowed there, and what they may be asked for."""

    spent: int
    """As the manifest counts them: skips included, region by region, once they are merged."""
    budget: int | None
    """None where nobody set one."""
    knob: str
    """The key of params.yaml that sets it."""
    candidates: int
    """Images, or regions of them, that may be asked for."""
    open: int = 0
    """Answers that earlier rounds asked for and that are still to come."""

    @property
    def left(self) -> int | None:
        """Answers that may still be asked for; None without a budget, never below 0."""
        return None if self.budget is None else max(0, self.budget - self.spent - self.open)

    @property
    def may_ask(self) -> bool:
        """Whether a query has anything in it."""
        return self.may_ask_beyond(0)

    def may_ask_beyond(self, size: int) -> bool:
        """Whether anything may be asked after a query for `size` answers."""
        return self.candidates > size and (self.left is None or self.left > size)


def spending(samples: Iterable[Sample], params: Params, domain: str) -> Spending:
    """Of `domain`, by the manifest's `samples` and the budget in `params`."""
    own = [sample for sample in samples if sample.domain == domain]
    return Spending(
        spent=sum(sample.num_answers for sample in own),
        open=sum(sample.asked for sample in own),
        budget=params.budget(domain),
        knob="loop.budget" if params.domains[domain].budget is None else f"domains.{domain}.budget",
        candidates=sum(_num_candidates(sample, params.grid) for sample in own),
    )


def _num_candidates(sample: Sample, grid: Grid | None) -> int:
    if not sample.candidate:
        return 0
    if grid is None:
        return int(not sample.regions)
    return max(0, grid.count - len(sample.boxes))


def describe(found: Spending) -> str:
    """`12 merged of a budget of 16 (loop.budget)`, or that there is none."""
    merged = f"{found.spent} merged" + (f" and {found.open} still open" if found.open else "")
    if found.budget is None:
        return f"{merged}, no budget set"
    over = "" if found.left else ": no later round asks for more"
    return f"{merged} of a budget of {found.budget} ({found.knob}){over}"


def why_spent(found: Spending) -> str:
    """Why a query that no stopping rule closed asks for nothing, and what to do about it."""
    if found.may_ask:
        return "its query is empty"
    if found.candidates == 0:
        return "nothing left to ask"
    more = f", with {found.spent} answers" if found.spent != found.budget else ""
    more += f" and {found.open} open questions" if found.open else ""
    return f"budget of {found.budget} spent{more}; raise {found.knob} in params.yaml to go on"
