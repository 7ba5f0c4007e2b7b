"""`ssl-loop labelstudio`: what is in the annotation tool, when it is not as the loop left it."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import WORKSPACE

ASSUME_YES = click.option("--yes", is_flag=True, help="Install what is missing without asking.")


def require_label_studio(*, yes: bool) -> None:
    """See to it that Label Studio is installed: ask whoever sits here, unless `yes`."""
    import sys

    from flows.processes.label_studio_install import ABOUT, label_studio_place
    from flows.services.label_studio_server import find_label_studio
    from pipeline.errors import ServiceError

    try:
        find_label_studio()
    except ServiceError:
        question = (
            f"Label Studio is not installed. Install it into {label_studio_place()} ({ABOUT})?"
        )
        if not yes and not (sys.stdin.isatty() and click.confirm(question, default=True)):
            raise
        _install()


def _install() -> None:
    from flows.processes.label_studio_install import install_label_studio

    with click.progressbar(length=1, label="Label Studio") as bar:
        for step in install_label_studio():
            bar.length = step.of
            bar.update(step.packages - bar.pos)


@click.group()
def labelstudio() -> None:
    """Put back, or accept, what Label Studio lost or moved.

    The loop draws no conclusion from a project, a task or a stretch of answers that is not there
    any more: it stops, and one of these commands says what happened.
    """


@labelstudio.command("install")
def install() -> None:
    """Install Label Studio into an environment of its own, where the loop looks for it.

    Its pins exclude those of Prefect. About 1 GB, some minutes; nothing to do where it is.
    """
    from flows.services.label_studio_server import find_label_studio

    require_label_studio(yes=True)
    click.echo(find_label_studio())


@labelstudio.command("restore")
@click.argument("domain", required=False)
@WORKSPACE
def restore(domain: str | None, workspace: Path) -> None:
    """Put tasks, pre-annotations and answers back from the ledger (default: the current domain).

    What is in Label Studio stays. A project that is gone is made anew.
    """
    from flows.guards.tool_repair import put_back
    from flows.loop import open_loop

    with open_loop(workspace, log=click.echo) as loop, loop.workspace.lock():
        click.echo(put_back(loop, domain or loop.require_position().domain))


@labelstudio.command("adopt")
@click.argument("domain", required=False)
@click.option("--project", "project_id", type=int, help="Number of the project, as in its URL.")
@click.option("--take-over", is_flag=True, help="Take a project that is another workspace's.")
@WORKSPACE
def adopt(domain: str | None, project_id: int | None, take_over: bool, workspace: Path) -> None:
    """Take what is in Label Studio now as right (default: the current domain's project).

    With --project: a project that was moved, or imported again, asks for the domain from now on;
    its tasks are taken where they show the image that they claim to. Answers that are gone count
    as withdrawn.
    """
    from flows.guards.tool_repair import adopt as take
    from flows.loop import open_loop

    with open_loop(workspace, log=click.echo) as loop, loop.workspace.lock():
        name = domain or loop.require_position().domain
        click.echo(take(loop, name, project_id, take_over=take_over))
