"""`ssl-loop verify`, `audit` and `review`: is everything as it must be, was the past changed, and
what should people look at again?

Imports are inside the commands: `--help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flows.cli.options import AS_JSON, WORKSPACE, echo_json
from pipeline.runtime.torch_settings import settle_torch

SHOWN = 20
SHOWN_COLUMNS = ("id", "key", "who", "kind", "domain", "round_index", "subject", "detail", "sha256")


@click.command()
@click.option("--quick", is_flag=True, help="Only what a tick looks at, in milliseconds.")
@AS_JSON
@WORKSPACE
def verify(quick: bool, as_json: bool, workspace: Path) -> None:
    """Judge every invariant of the workspace, and say what to do about each finding.

    Answers in the ledger, their records and masks pixel for pixel; tags, data, models, lineage;
    the ledger against one made again. Holds the workspace as a tick does. Exit code 1 where
    something is found.
    """
    from flows.loop import open_loop
    from flows.verify import verify as judge

    with open_loop(workspace, log=click.echo) as loop, loop.workspace.lock():
        report = judge(loop, quick=quick)
    echo_json(report) if as_json else click.echo("\n".join(report.in_words()))
    sys.exit(1 if report.findings else 0)


@click.command()
@click.option(
    "--last",
    type=click.IntRange(min=0),
    help=f"Show this many of the newest events.  [default: {SHOWN}; with --json all]",
)
@click.option(
    "--contains",
    metavar="HASH",
    help="The hash of an event that was noted earlier: is it still in the chain?",
)
@AS_JSON
@WORKSPACE
def audit(last: int | None, contains: str | None, as_json: bool, workspace: Path) -> None:
    """Show the events of the ledger, and verify that none was changed, removed or put in.

    Each event carries the hash of its content and of the event before it. The last line is the
    head, the hash of the newest event: note it elsewhere, and --contains shows later that nothing
    was cut off behind it. Exit code 1 where the chain is broken; the first broken event is named.
    """
    from db.repository import chain_head, events, first_break
    from db.session import session_scope
    from flows.loop import open_loop

    with open_loop(workspace) as loop, session_scope(loop.ledger, read_only=True) as session:
        rows = events(session)
        broken, head = first_break(rows), chain_head(session)
    lost = contains is not None and all(row.sha256 != contains for row in rows)
    count = last if last is not None else len(rows) if as_json else SHOWN
    shown = [_plain(row) for row in rows[len(rows) - min(count, len(rows)) :]]
    if as_json:
        told: dict[str, Any] = {"head": head, "count": len(rows), "events": shown}
        told["broken"] = vars(broken) if broken else None
        told |= {"contains": not lost} if contains is not None else {}
        echo_json(told)
    else:
        for one in shown:
            click.echo(_line(one))
        if broken:
            where = f"event {broken.event_id} ({broken.key})"
            click.secho(f"BROKEN: {where} {broken.what}", fg="red")
            click.echo("  -> a backup from before has what was there; `ssl-loop verify` says more")
        else:
            click.echo(f"{len(rows)} events, chain whole, head {head}")
        if lost:
            click.secho(f"NOT HERE: no event has the hash {contains}", fg="red")
            click.echo("  -> events were cut off, or the ledger was made again since it was noted")
    sys.exit(1 if broken or lost else 0)


@click.command("review")
@click.option("--domain", help="Masks of this domain alone [default: of all].")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many masks are listed.",
)
@click.option(
    "--send", is_flag=True, help="Mark their tasks in the annotation tool: its tab Review."
)
@AS_JSON
@WORKSPACE
def review(workspace: Path, domain: str | None, limit: int, **flags: bool) -> None:
    """Masks in which people may have erred, the likeliest first.

    Every merged mask is judged by a small model that learnt from the other masks, and listed where
    that is sure against what was painted: which class, where, whose answer. Answers that
    were submitted in a moment with nothing changed, where the model was unsure, are listed too.
    Pictures go to report/review.html. Masks of the split test are left alone. docs/review.md says
    how far this can be trusted.
    """
    settle_torch()
    from flows.loop import open_loop
    from flows.views.mask_review import plain_review, review_lines, review_workspace, send_review

    with open_loop(workspace) as loop:
        found = review_workspace(loop, domain, limit)
        if flags["send"]:
            marked = send_review(loop, domain, found)
            click.echo(f"{marked} task(s) are in the tab Review", err=flags["as_json"])
        if flags["as_json"]:
            echo_json(plain_review(found))
            return
        for line in review_lines(found, loop.root):
            click.echo(line)


def _line(event: dict[str, Any]) -> str:
    """An event for people: when, what, where, by whom."""
    from flows.workspace.position import round_tag

    where = event["domain"] or ""
    if event["round_index"] is not None:
        where = round_tag(where, event["round_index"])
    about = " ".join(part for part in (where, event["subject"]) if part)
    return f"{event['at'][:19]}  {event['kind']:16}  {about}  by {event['who']}"


def _plain(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SHOWN_COLUMNS} | {"at": row.at.isoformat()}


COMMANDS = (verify, audit, review)
