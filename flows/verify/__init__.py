"""`ssl-loop verify`: every invariant of a workspace, one function each, in a table.

A row of `INVARIANTS` is a name and a function from the evidence to findings; what it says holds is
the first line of its docstring. A new row needs a fault that breaks it in
tests/flows/verify/by_hand.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from db.ledger_errors import LedgerError
from flows.loop import Loop
from flows.verify.asked import asked
from flows.verify.data_files import manifest, splits
from flows.verify.event_chain import events
from flows.verify.evidence import Evidence, Finding, UncheckedError
from flows.verify.foreign_commits import commits
from flows.verify.rebuilt_ledger import rebuilt
from flows.verify.recorded_answers import inbox, masks, merged, records, versions
from flows.verify.tagged import restorable, tags, working_copy
from flows.verify.tool_tasks import answers, tasks
from flows.verify.trained_models import checkpoints, lineage
from pipeline.errors import ServiceError, SslLoopError

Check = Callable[[Evidence], Iterator[Finding]]

INVARIANTS: dict[str, Check] = {
    "events": events,
    "asked": asked,
    "versions": versions,
    "records": records,
    "inbox": inbox,
    "masks": masks,
    "merged": merged,
    "manifest": manifest,
    "splits": splits,
    "tags": tags,
    "working_copy": working_copy,
    "restorable": restorable,
    "checkpoints": checkpoints,
    "lineage": lineage,
    "rebuilt": rebuilt,
    "commits": commits,
    "tasks": tasks,
    "answers": answers,
}
# Milliseconds and no network: what a tick looks at before it waits for people.
QUICK = ("versions", "inbox")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at and found."""

    checked: tuple[str, ...]
    unchecked: dict[str, str]
    """Invariants that cannot be judged now, and why."""
    findings: tuple[Finding, ...]

    def in_words(self) -> list[str]:
        """For people: findings first, what to do below each."""
        lines = []
        for one in self.findings:
            lines += [f"{one.invariant}: {one.where}: {one.what}", f"  -> {one.remedy}"]
        lines += [f"{name}: not checked: {why}" for name, why in self.unchecked.items()]
        found = f"{len(self.findings)} finding(s)" if self.findings else "all as it must be"
        return [*lines, f"{len(self.checked)} invariants checked: {found}"]


def verify(loop: Loop, *, quick: bool = False) -> Verification:
    """Judge every invariant, or those of `QUICK`; call it under the workspace's lock.

    What cannot be read at all is a finding too; a service that does not answer is not.
    """
    return judge(Evidence(loop), QUICK if quick else INVARIANTS)


def judge(evidence: Evidence, names: Iterable[str]) -> Verification:
    """The invariants of these names, one after the other."""
    checked, unchecked, findings = [], {}, []
    for name in names:
        try:
            found = list(INVARIANTS[name](evidence))
        except (UncheckedError, ServiceError) as error:
            unchecked[name] = str(error)
            continue
        except (SslLoopError, LedgerError, OSError, ValueError, KeyError) as error:
            found = [
                Finding(
                    where="workspace",
                    what=f"cannot be looked at: {type(error).__name__}: {error}",
                    remedy="mend what it names; `ssl-loop doctor` may say more",
                )
            ]
        checked.append(name)
        findings += [replace(one, invariant=name) for one in found]
    return Verification(checked=tuple(checked), unchecked=unchecked, findings=tuple(findings))
