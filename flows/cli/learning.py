"""The commands about what is trained and how: `ssl-loop plan` and `ssl-loop methods`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import AS_JSON, WORKSPACE, echo_json
from pipeline.runtime.torch_settings import settle_torch

if TYPE_CHECKING:
    from flows.workspace.workspace import Workspace
    from pipeline.methods.catalogue import Entry
    from pipeline.planning.training_plan import Choice, TrainingPlan


@click.command("plan")
@click.option(
    "--profile",
    type=click.Choice(["quick", "balanced", "best"]),
    help="Plan for another one than params.yaml says; a look, unless --write is given.",
)
@click.option("--all", "every", is_flag=True, help="As if every knob stood at auto.")
@click.option(
    "--write",
    is_flag=True,
    help="Let the next round plan so: writes the profile, and `auto` anew wherever it stands "
    "(with --all, everywhere).",
)
@AS_JSON
@WORKSPACE
def plan(profile: Any, every: bool, write: bool, as_json: bool, workspace: Path) -> None:
    """What the loop would train here and how, with a reason for each choice.

    It looks at the images, the masks and this machine, on which it takes a few steps; then one rule
    for each knob of params.yaml that stands at `auto` says a value. What you set yourself stands,
    and is shown as yours. docs/plan.md has the rules.
    """
    from flows.domains.plan_ahead import plan_ahead
    from flows.workspace.workspace import Workspace

    here = Workspace(workspace)
    here.require()
    made = plan_ahead(here, profile=profile, every=every)
    if as_json:
        echo_json(made.to_dict())
    else:
        show_plan(made)
    if write:
        _write(here, profile, every=every)


def _write(workspace: Workspace, profile: Any, *, every: bool) -> None:
    from flows.domains.plan_ahead import planned_here
    from pipeline import layout
    from pipeline.config.planned import AUTO, in_blocks

    with workspace.lock():
        knobs = planned_here(workspace, every=every)
        changes: dict[str, Any] = in_blocks(dict.fromkeys(knobs, AUTO))
        workspace.write_params(changes | ({"profile": profile} if profile else {}))
    click.echo(f"{layout.PARAMS}: {len(knobs)} knob(s) at auto; the next round plans them anew")


def show_plan(made: TrainingPlan) -> None:
    """As a table for people: what is chosen and why, minutes and memory."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    data, machine = made.data, made.machine
    console = Console()
    console.print(
        f"{data.num_images} images, usually {data.height_px}x{data.width_px} pixels, "
        f"{data.num_labelled} labelled, {data.num_classes} classes; {machine.name} with "
        f"{machine.memory_gib:.0f} GiB, {machine.cores} core(s); profile {made.profile}",
        highlight=False,
    )
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("knob", no_wrap=True)
    table.add_column("value", no_wrap=True)
    table.add_column("why", overflow="fold")
    for choice in made.choices:
        table.add_row(choice.knob, str(choice.value), _reason(choice))
    console.print(table, highlight=False)
    console.print(
        f"About {made.minutes_per_round:.0f} minutes a round and {made.memory_mib:.0f} MiB for a "
        "training, images and predictions not counted.",
        highlight=False,
    )


def _reason(choice: Choice) -> str:
    return f"yours: {choice.reason}" if choice.yours else choice.reason


@click.command("methods")
@AS_JSON
def methods(as_json: bool) -> None:
    """All ways to learn from unlabelled images, for `method.name` in params.yaml.

    Equations, papers and what differs from them: docs/methods/index.md.
    """
    settle_torch()
    from pipeline.methods.catalogue import entries

    found = entries()
    if as_json:
        echo_json(found)
        return
    _show_methods(found)


def _show_methods(found: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for family in dict.fromkeys(entry.family for entry in found):
        console.print(f"\n[bold]{family}[/]")
        table = Table.grid(padding=(0, 2))
        table.add_column(width=14, no_wrap=True)
        table.add_column()
        for entry in (entry for entry in found if entry.family == family):
            table.add_row(f"  {entry.name}", entry.what)
            if entry.options:
                options = ", ".join(f"{key} {value}" for key, value in entry.options.items())
                table.add_row("", f"[dim]options: {options}[/]")
        console.print(table)
    console.print("\nmethod.name in params.yaml; options go under method.options.")
