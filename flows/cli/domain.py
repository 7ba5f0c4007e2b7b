"""`ssl-loop domain`: images come in. Imports are inside the commands: `--help` answers at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from flows.cli.learning import show_plan
from flows.cli.options import AS_JSON, WORKSPACE, echo_json
from pipeline.runtime.torch_settings import settle_torch

_ARRIVING = (
    click.option(
        "--images", type=click.Path(path_type=Path), required=True, help="Folder of images."
    ),
    click.option(
        "--masks",
        type=click.Path(path_type=Path),
        help="Folder of class-index PNG masks with the images' names.",
    ),
    click.option(
        "--splits",
        type=click.Path(path_type=Path),
        help="CSV with columns id,split; split = labelled | pool | val | test.",
    ),
    click.option(
        "--keep-all", is_flag=True, help="Leave out no blank, blurred or duplicate image."
    ),
    click.option(
        "--accept",
        is_flag=True,
        help="Take what looks like a mistake: masks of one class, the same pixels in labelled and "
        "val, links out of the folder.",
    ),
)


def arriving_images(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that brings images."""
    for option in reversed(_ARRIVING):
        command = option(command)
    return command


@click.group()
def domain() -> None:
    """Imaging conditions: a camera, a site, a season."""


@domain.command("add")
@click.argument("name")
@arriving_images
@click.option("--query-size", type=click.IntRange(min=1), help="Samples per query in this domain.")
@click.option("--budget", type=click.IntRange(min=0), help="Answers allowed here, skips included.")
@click.option("--no-plan", is_flag=True, help="Do not show what will be trained: takes no steps.")
@AS_JSON
@WORKSPACE
def domain_add(name: str, workspace: Path, no_plan: bool, as_json: bool, **options: Any) -> None:
    """Check and copy a folder of images; the loop takes it in when its turn comes.

    Every file is checked first; if one is bad, all bad ones are listed and nothing is copied.
    So it is when masks show one class alone, an image would teach and judge, or a file is a link
    out of its folder, unless you accept that. Images without a mask that are blank, blurred,
    another's duplicate or of another scene are copied but left out of the loop, and named with the
    reason. Where there is a model, the domain is then compared with what is labelled:
    docs/shift.md. At last it shows what the loop will train with these images and how, as
    `ssl-loop plan` does: docs/plan.md.
    """
    settle_torch()
    from flows.domains.add import add_domain
    from flows.domains.plan_ahead import plan_on_arrival
    from flows.domains.shift_on_arrival import on_arrival

    say = partial(click.echo, err=as_json)
    summary = add_domain(workspace, name, **options)
    say(summary)
    on_arrival(workspace, name, say)
    made = None if no_plan else plan_on_arrival(workspace, name, say)
    if as_json:
        echo_json({"added": summary, "plan": made and made.to_dict()})
    elif made is not None:
        show_plan(made)


@domain.command("extend")
@click.argument("name")
@arriving_images
@WORKSPACE
def domain_extend(name: str, workspace: Path, **options: Any) -> None:
    """Bring more images of a domain that is there: next week's photographs.

    They are checked as by `domain add`; what the domain has already, by name and pixels, is passed
    over, so that the whole folder may be named again. They join the pool before the next round is
    computed, with a tag of their own. A campaign that had ended goes on.
    """
    settle_torch()
    from flows.domains.extend import extend_domain

    click.echo(extend_domain(workspace, name, **options))
    click.echo("They join the domain before the next round is computed.")


@domain.command("let-in")
@click.argument("name")
@click.argument("images", nargs=-1)
@WORKSPACE
def domain_let_in(name: str, images: tuple[str, ...], workspace: Path) -> None:
    """Use images that `add` left out: the named ones, or all of the domain."""
    from flows.domains.add import let_in

    chosen = let_in(workspace, name, images)
    click.echo(f"domain {name}: {len(chosen)} image(s) let in")
