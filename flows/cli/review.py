"""The command `ssl-loop review`. Imports are inside: `--help` answers at once."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import AS_JSON, WORKSPACE, echo_json
from pipeline.runtime.torch_settings import settle_torch


@click.command("review")
@click.option("--domain", help="Masks of this domain alone [default: of all].")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many masks are listed.",
)
@AS_JSON
@WORKSPACE
def review(workspace: Path, domain: str | None, limit: int, as_json: bool) -> None:
    """Masks in which people may have erred, the likeliest first.

    Every merged mask is judged by a small model that learnt from the other masks, and listed where
    that is sure of another class than was painted: which class, where, whose answer. Answers that
    were submitted in a moment with nothing changed, where the model was unsure, are listed too.
    Pictures go to report/review.html. Masks of the split test are left alone. docs/review.md says
    how far this can be trusted.
    """
    settle_torch()
    from flows.loop import open_loop
    from flows.views.mask_review import plain_review, review_lines, review_workspace

    with open_loop(workspace) as loop:
        found = review_workspace(loop, domain, limit)
        if as_json:
            echo_json(plain_review(found))
            return
        for line in review_lines(found, loop.root):
            click.echo(line)
