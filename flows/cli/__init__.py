"""The command `ssl-loop`. Imports are inside the commands: `--help` answers at once."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any, Literal

import click

from flows.cli import (
    backtest,
    backup,
    commit,
    domain,
    labelstudio,
    learning,
    models,
    outside,
    shift,
    verify,
    versions,
    watch,
)
from flows.cli.options import AS_JSON, WORKSPACE, echo_json
from pipeline.runtime.torch_settings import settle_torch

_EPILOG = """\b
The whole loop on drawn scenes, with nobody to ask:
  ssl-loop quickstart
A first loop on your own images:
  ssl-loop init my-scene --classes classes.txt
  cd my-scene
  ssl-loop domain add day --images ~/photos/day
  ssl-loop up
  prefect deployment run ssl-loop      (or: ssl-loop run)
Then annotate in Label Studio; `ssl-loop status` says where the loop stands."""


class _Group(click.Group):
    """Errors of ours are for people: one message, exit code 1, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        from db.ledger_errors import LedgerError
        from pipeline.errors import SslLoopError
        from pipeline.files import failure_words

        try:
            return super().invoke(ctx)
        except (SslLoopError, LedgerError) as error:
            said = str(error)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # who read our output has gone; click knows what to do
            said = failure_words(error)
        click.secho(f"Error: {said}", fg="red", err=True)
        sys.exit(1)


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ssl-loop")
def main() -> None:
    """A good segmentation model for a new scene from very few labels.

    The loop trains on labelled and unlabelled images, asks people in Label Studio for the most
    useful masks, and trains again; git and DVC keep every round.
    """


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--classes",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Class names: one per line, or a CSV with columns index,name.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A knob of params.yaml, such as train.steps=500; may be repeated.",
)
@click.option(
    "--background",
    metavar="CLASS",
    help="The class that nobody has to paint: what people leave bare is of it.",
)
@click.option("--here", is_flag=True, help="Use the git repository that is there already.")
@click.option(
    "--no-plan", is_flag=True, help="Fixed values for a quick look, instead of auto for the plan."
)
def init(  # noqa: PLR0913 - one parameter per option
    directory: Path,
    classes: Path,
    settings: tuple[str, ...],
    *,
    background: str | None,
    here: bool,
    no_plan: bool,
) -> None:
    """Make a workspace: a git + DVC repository with params.yaml and dvc.yaml.

    What images and machine can decide stands at `auto`: the loop plans it (`ssl-loop plan`).
    """
    from flows.workspace.create import create_workspace
    from flows.workspace.settings import parse_settings
    from pipeline.data.formats import read_classes
    from pipeline.errors import ConfigError

    names = read_classes(classes)
    overrides = parse_settings(settings)
    if background is not None:
        if background not in names:
            raise ConfigError(
                f"--background {background!r} is not one of the classes: {', '.join(names)}"
            )
        block = overrides.setdefault("annotation", {})
        if isinstance(block, dict):  # anything else is refused with all that is wrong
            block["background"] = background
    made = create_workspace(
        directory, class_names=names, overrides=overrides, planned=not no_plan, here=here
    )
    click.echo(f"{directory}: a workspace for {len(names)} classes: {', '.join(names)}")
    bare = made.params().annotation.background
    click.echo(
        f"What people leave bare is {bare}."
        if bare
        else "People paint every class; --background CLASS, or annotation.background in "
        "params.yaml, spares them the one that is left over."
    )
    click.echo(f"Next: cd {directory} && ssl-loop domain add NAME --images DIR")


@main.command()
@click.option(
    "--schedule",
    "schedule_s",
    type=click.IntRange(min=5),
    default=60,
    show_default=True,
    help="Seconds between ticks that no event asked for: the guarantee.",
)
@click.option(
    "--no-label-studio",
    is_flag=True,
    help="Use the server that annotation.url names instead of starting one.",
)
@labelstudio.ASSUME_YES
@WORKSPACE
def up(workspace: Path, schedule_s: int, *, no_label_studio: bool, yes: bool) -> None:
    """Start the Prefect server, a worker and Label Studio on this machine, and deploy the loop.

    Where Label Studio is not installed it asks whether it should be.
    """
    settle_torch()  # for the worker, whose flows inherit the environment
    if not no_label_studio:
        labelstudio.require_label_studio(yes=yes)
    from flows.services import stack

    for line in stack.up(workspace, schedule_s=schedule_s, label_studio=not no_label_studio):
        click.echo(line)
    for line in stack.addresses(workspace):
        click.echo(line)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path), default="ssl-loop-quickstart")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of scenes, trainings and answers.",
)
@click.option(
    "--schedule",
    "schedule_s",
    type=click.IntRange(min=5),
    default=20,
    show_default=True,
    help="Seconds between ticks.",
)
@click.option("--down", "stop", is_flag=True, help="Stop the services at the end.")
@labelstudio.ASSUME_YES
def quickstart(directory: Path, seed: int, schedule_s: int, *, stop: bool, yes: bool) -> None:
    """See the whole loop work in DIRECTORY, on drawn street scenes with a simulated annotator.

    Two rounds by day, the shift to dusk, two rounds there: some 7 minutes on two cores. Its pages
    stay up to look around. Exit code 0 only if all of it happened.
    """
    settle_torch()
    labelstudio.require_label_studio(yes=yes)
    from flows.demo.quickstart import play

    sys.exit(0 if play(directory, seed, schedule_s, stop=stop) else 1)


@main.command()
@WORKSPACE
def down(workspace: Path) -> None:
    """Stop what `up` started, and nothing else."""
    from flows.services import stack

    for line in stack.down(workspace):
        click.echo(line)


@main.command("status")
@AS_JSON
@WORKSPACE
def status_command(workspace: Path, as_json: bool) -> None:
    """Where the loop stands: round, asked, answered, merged, model, services."""
    from flows.services import stack
    from flows.views.status import describe, status

    with _loop(workspace) as loop:
        found = status(loop)
        running = [] if as_json else stack.status(loop.root)
        echo_json(found.to_dict()) if as_json else click.echo(describe(found, running))


@main.command("run")
@click.option("--local", is_flag=True, help="Run the tick in this process, without Prefect.")
@click.option("--no-wait", is_flag=True, help="Trigger and return.")
@WORKSPACE
def run_command(workspace: Path, local: bool, no_wait: bool) -> None:
    """Carry the loop on: trigger the deployment and follow it, as `prefect deployment run` does."""
    if local:
        settle_torch()
        from flows.tick import tick

        with _loop(workspace) as loop:
            tick(loop)
        return
    from flows.services.trigger import trigger

    click.echo(trigger(workspace, wait=not no_wait, on_line=click.echo))


@main.command("simulate-annotator")
@click.option(
    "--truth",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder with the true masks, outside the workspace.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="NAME=VALUE",
    help="How people err: see docs/operations.md; may be repeated.",
)
@click.option("--watch", is_flag=True, help="Keep answering until interrupted.")
@AS_JSON
@WORKSPACE
def simulate_annotator(workspace: Path, **options: Any) -> None:
    """Answer the open query through Label Studio's own API, as a person would.

    For demos, tests and rehearsals: reads true masks from a folder outside the workspace.
    """
    from flows.demo.simulate_annotator import simulate

    simulate(workspace, echo=click.echo, **options)


@main.command()
@WORKSPACE
def report(workspace: Path) -> None:
    """Render report/index.html again from tags, ledger and metrics."""
    from flows.views.round_report import render_report

    with _loop(workspace) as loop:
        click.echo(render_report(loop))


@main.group("round")
def round_group() -> None:
    """The current round."""


@round_group.command("close")
@WORKSPACE
def round_close(workspace: Path) -> None:
    """Stop waiting: the next tick merges the answers that are there and goes on.

    A domain that waits is taken in next; what was asked and not answered is released.
    """
    from flows.rounds.close import close_round

    with _loop(workspace) as loop:
        click.echo(close_round(loop))


@round_group.command("accept")
@click.argument("tag", required=False)
@WORKSPACE
def round_accept(workspace: Path, tag: str | None) -> None:
    """Take a round in spite of what it costs older domains.

    TAG is the round's, such as dusk/r1; without it the newest. Its teacher is offered again if it
    was refused, and later rounds may lose as much.
    """
    from flows.rounds.offered_teacher import accept_round

    with _loop(workspace) as loop:
        click.echo(accept_round(loop, tag))


@main.group()
def ledger() -> None:
    """The database of facts: who labelled what, when, why it was asked."""


@ledger.command("rebuild")
@WORKSPACE
def ledger_rebuild(workspace: Path) -> None:
    """Put every fact that git and DVC hold into the ledger again; what is there stays."""
    from flows.versions.rebuild_ledger import rebuild

    with _loop(workspace) as loop, loop.workspace.lock():
        click.echo(f"{rebuild(loop)} annotations in the ledger")


@main.command()
@AS_JSON
@WORKSPACE
def doctor(workspace: Path, as_json: bool) -> None:
    """Say what is missing on this machine and the command that mends it."""
    from flows.guards.doctor import checks

    found = list(checks(workspace))
    if as_json:
        echo_json(found)
    for check in () if as_json else found:
        click.secho(
            f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.found}",
            fg=None if check.ok else "red",
        )
        if not check.ok:
            click.echo(f"     -> {check.remedy}")
    sys.exit(0 if all(check.ok for check in found) else 1)


@main.command()
@click.option("--split", type=click.Choice(["val", "test"]), default="val", show_default=True)
@WORKSPACE
def evaluate(workspace: Path, split: Literal["val", "test"]) -> None:
    """Print the current models' mIoU on a split as JSON; look at test once, at the end."""

    settle_torch()
    from pipeline.config.params import load_params
    from pipeline.data.painted_classes import require_painted
    from pipeline.layout import PARAMS
    from pipeline.stages.evaluate import evaluate_split

    params = load_params(workspace / PARAMS)
    require_painted(workspace, params)
    echo_json(evaluate_split(workspace, params, split))


main.add_command(domain.domain)
main.add_command(labelstudio.labelstudio)
main.add_command(commit.commit)
main.add_command(learning.plan)
main.add_command(models.models)
main.add_command(learning.methods)
main.add_command(models.export)
main.add_command(models.weights)
main.add_command(backtest.backtest)
for module in (versions, verify, backup, outside):
    for command in module.COMMANDS:
        main.add_command(command)
main.add_command(watch.watch)
main.add_command(shift.shift)


def _loop(workspace: Path) -> Any:
    from flows.loop import open_loop

    return open_loop(workspace, log=click.echo)
