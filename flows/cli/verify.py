"""`ssl-loop verify`: is what was asked what was answered, learnt from and kept?

Imports are inside the commands: `--help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from flows.cli.options import AS_JSON, WORKSPACE


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
    click.echo(report.as_json() if as_json else "\n".join(report.in_words()))
    sys.exit(1 if report.findings else 0)


COMMANDS = (verify,)
