"""`ssl-loop commit`: what people commit by hand. Imports are inside the commands."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import WORKSPACE


@click.group()
def commit() -> None:
    """Commits that people make by hand to what the loop keeps."""


@commit.command("accept")
@click.argument("revisions", nargs=-1, metavar="REV...")
@WORKSPACE
def commit_accept(revisions: tuple[str, ...], workspace: Path) -> None:
    """Take commits that people made to the loop's files: the ticks stop at them until then.

    A mask that was mended counts as an answer of the commit's author, as old as the commit.
    Without REV, the commits that wait are listed.
    """
    from flows.answers.accept_commit import accept_commits
    from flows.loop import open_loop

    with open_loop(workspace, log=click.echo) as loop:
        for line in accept_commits(loop, revisions):
            click.echo(line)
