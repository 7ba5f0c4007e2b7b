"""`ssl-loop history, restore, diff, lineage, remote`: looking back, and losing nothing.

Imports are inside the commands: `--help` answers at once.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from flows.cli.options import AS_JSON, WORKSPACE, echo_json


@click.command()
@AS_JSON
@WORKSPACE
def history(workspace: Path, as_json: bool) -> None:
    """The line of shifts and rounds: labels, answers, minutes, mIoU on every domain."""
    from flows.versions import history as line

    with _loop(workspace) as loop:
        shifts = line.history(loop)
    echo_json(shifts) if as_json else click.echo(line.in_words(shifts))


@click.command()
@click.argument("tag")
@click.option("--into", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option(
    "--from",
    "source",
    metavar="URL_OR_PATH",
    help="A git repository or another workspace (default: this workspace).",
)
@AS_JSON
@WORKSPACE
def restore(tag: str, into: Path, source: str | None, as_json: bool, workspace: Path) -> None:
    """Bring a tagged state back in a new workspace, and prove it by hash.

    Data, masks, models, params and ledger as they were at TAG, such as day/r1 or dusk/final. This
    workspace stays as it is. The new one shares its DVC cache, or pulls from the remote, and the
    loop may go on there: later tags stay behind, and nothing is pushed to this one's history.
    """
    from flows.versions.restore import restore as bring_back
    from flows.workspace.workspace import Workspace

    if source is None:
        Workspace(workspace).require()
    log = (lambda line: None) if as_json else click.echo
    found = bring_back(source or str(workspace.resolve()), tag, into, log)
    if as_json:
        told = {"root": str(found.root), "annotations": found.annotations}
        echo_json(told | asdict(found.proof))
        return
    click.echo(f"{found.root}: {tag}, proved")
    for line in found.proof.in_words():
        click.echo(f"  {line}")
    click.echo(f"  ledger made again with {found.annotations} annotations")


@click.command()
@click.argument("before", metavar="TAG")
@click.argument("after", metavar="TAG")
@AS_JSON
@WORKSPACE
def diff(before: str, after: str, as_json: bool, workspace: Path) -> None:
    """What changed from one tag to another: images, masks, params, metrics, models."""
    from flows.versions.diff import diff as difference
    from flows.versions.diff import in_words
    from flows.workspace.workspace import Workspace

    opened = Workspace(workspace)
    opened.require()
    found = difference(opened, before, after)
    echo_json(found) if as_json else click.echo(in_words(found))


@click.command()
@click.argument("model", required=False, metavar="[MODEL_OR_TAG]")
@click.option("--sample", metavar="ID", help="The other way: every model that saw this image.")
@AS_JSON
@WORKSPACE
def lineage(model: str | None, sample: str | None, as_json: bool, workspace: Path) -> None:
    """The annotations that a model learnt from, or the models that saw an image.

    MODEL_OR_TAG is a tag (day/r1), the hash of a model's folder or weights, or a folder that holds
    a model. Said by the ledger and by git's history; where they differ, that is said too, and the
    exit code is 1.
    """
    from flows.versions import lineage as lines
    from flows.versions.find_models import models_named

    if (model is None) == (sample is None):
        raise click.UsageError("name a model or a tag, or an image by --sample ID")
    found: lines.ModelLineage | lines.SampleLineage
    with _loop(workspace) as loop:
        if sample is not None:
            found = lines.lineage_of_sample(loop, sample)
        else:
            found = lines.lineage_of_models(loop, models_named(loop, str(model)))
    if as_json:
        echo_json(found)
    else:
        from flows.versions.lineage_text import in_words

        click.echo(in_words(found))
    sys.exit(1 if found.agree is False else 0)


@click.group()
def remote() -> None:
    """Where data and history lie a second time; the loop pushes there after every tag."""


@remote.command("add")
@click.argument("url", required=False)
@click.option("--git", "git_url", metavar="URL", help="A git repository for the history.")
@WORKSPACE
def remote_add(url: str | None, git_url: str | None, workspace: Path) -> None:
    """Push data to URL (a folder, s3://, gs://, ssh://, azure://), history to --git URL.

    A folder, or a bare git repository at a path, is made when it is not there. Keys and passwords
    do not belong into an address: `dvc remote modify --local backup OPTION VALUE`, the
    environment, or git's credential helper keep them out of git.
    """
    from flows.workspace import remote as remotes

    click.echo(remotes.add(_workspace(workspace), url, git_url).in_words())
    click.echo("the next tick pushes every tag; `ssl-loop remote push` does it now")


@remote.command("list")
@AS_JSON
@WORKSPACE
def remote_list(workspace: Path, as_json: bool) -> None:
    """The addresses, and the tags that are not there yet."""
    from flows.versions.pushes import unpushed
    from flows.workspace import remote as remotes
    from flows.workspace.git.lost_tags import lost_history

    with _loop(workspace) as loop:
        found, tags = remotes.remote(loop.workspace), unpushed(loop)
        lost = lost_history(loop.workspace)
    if as_json:
        halves = {name: url and remotes.redacted(url) for name, url in vars(found).items()}
        told = {**halves, "not_pushed": tags, "lost": lost}
        echo_json(told)
        return
    click.echo(found.in_words())
    if lost:
        click.echo(f"NOT KNOWN HERE: {lost}")
        sys.exit(1)
    if found:
        click.echo(f"not pushed yet: {', '.join(tags)}" if tags else "every tag is there")


@remote.command("remove")
@WORKSPACE
def remote_remove(workspace: Path) -> None:
    """Push nowhere from now on; what lies there stays."""
    from flows.workspace import remote as remotes

    click.echo(f"no longer pushed to: {remotes.remove(_workspace(workspace)).in_words()}")


@remote.command("push")
@WORKSPACE
def remote_push(workspace: Path) -> None:
    """Push now what the remotes lack."""
    from flows.steps.push import push
    from flows.versions.pushes import unpushed
    from flows.workspace.git.lost_tags import require_tags
    from flows.workspace.remote import remote as addresses
    from pipeline.errors import WorkspaceError

    with _loop(workspace) as loop, loop.workspace.lock():
        if not addresses(loop.workspace):
            raise WorkspaceError("no remote; `ssl-loop remote add URL --git URL` sets one up")
        require_tags(loop.workspace)
        tags = unpushed(loop)
        if tags:
            push(loop, tags)
        else:
            click.echo("every tag is there")


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@AS_JSON
@WORKSPACE
def gc(workspace: Path, dry_run: bool, as_json: bool) -> None:
    """Free what lies in DVC's cache and no tag, branch or working copy needs.

    The safe `dvc gc`: every state that `ssl-loop restore` brings back stays, also of workspaces
    that share this cache. Refused while a round is computed.
    """
    from flows.versions.collect_garbage import collect_garbage

    found = collect_garbage(_workspace(workspace), dry_run=dry_run)
    echo_json(found) if as_json else click.echo(found.in_words())


COMMANDS = (gc, history, restore, diff, lineage, remote)


def _loop(workspace: Path) -> Any:
    from flows.loop import open_loop

    return open_loop(workspace, log=click.echo)


def _workspace(root: Path) -> Any:
    from flows.workspace.workspace import Workspace

    workspace = Workspace(root)
    workspace.require()
    return workspace
