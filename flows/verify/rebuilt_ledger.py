"""The ledger as a whole: what git and DVC say makes the same facts again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from db.repository import facts
from db.session import open_ledger, session_scope
from flows.loop import Loop
from flows.verify.evidence import Evidence, Finding
from flows.versions.rebuild_ledger import rebuild
from flows.workspace.position import labels_tag

# Rows that only this machine knows until a merge, or for good; all others follow from the tags.
_TOLD_LATER = {"ls_project", "ls_task", "event"}
_WHO_FIRST = ("who",)  # of the first run, see record_event


def rebuilt(evidence: Evidence) -> Iterator[Finding]:
    """A ledger made again from git and DVC holds the same facts, row by row."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = open_ledger(Path(folder) / "ledger.db")
        try:
            rebuild(Loop(workspace=evidence.workspace, ledger=fresh, log=lambda line: None))
            with session_scope(fresh, read_only=True) as session:
                again = facts(session)
        finally:
            fresh.close()
    with session_scope(evidence.loop.ledger, read_only=True) as session:
        known = facts(session)
    for table, rows in again.items():
        made, there = _keyed(rows), _keyed(known[table])
        for key in made.keys() - there.keys():
            yield Finding(
                where=f"{table}: {_named(made[key])}",
                what="follows from git and DVC, and is not in the ledger as such",
                remedy="`ssl-loop ledger rebuild` adds it; if it says that the row is there with "
                "other content, set the ledger aside and make it again",
            )
        for key in there.keys() - made.keys():
            if table not in _TOLD_LATER or _merged_task(evidence, table, there[key], rows):
                yield Finding(
                    where=f"{table}: {_named(there[key])}",
                    what="is in the ledger, and does not follow from git and DVC",
                    remedy="a tag or a record is missing (`git fetch --tags`, `dvc pull`), or the "
                    "ledger was changed by hand: set it aside and `ssl-loop ledger rebuild`",
                )


def _keyed(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    plain = [{k: v for k, v in row.items() if k not in _WHO_FIRST} for row in rows]
    return {json.dumps(row, sort_keys=True): row for row in plain}


def _merged_task(
    evidence: Evidence, table: str, row: dict[str, Any], again: list[dict[str, Any]]
) -> bool:
    """A task of a merged round of which that merge kept none; others wait for the next merge."""
    if table != "ls_task":
        return False
    item = evidence.items.get(row["item_id"])
    if item is None or labels_tag(item.domain, item.round_index) not in evidence.tags:
        return False
    return all(one["item_id"] != row["item_id"] for one in again)


def _named(row: dict[str, Any]) -> str:
    shown = ", ".join(f"{name}={value}" for name, value in row.items() if value is not None)
    return shown if len(shown) <= 160 else f"{shown[:157]}..."
