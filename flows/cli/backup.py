"""`ssl-loop backup, restore-backup`: a whole workspace in one file, and back again.

Imports are inside the commands: `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import AS_JSON, WORKSPACE, echo_json

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=FILE)
@click.option("--with-secrets", is_flag=True, help="Tokens, keys and our own Label Studio too.")
@AS_JSON
@WORKSPACE
def backup(file: Path, with_secrets: bool, as_json: bool, workspace: Path) -> None:
    """Write the whole workspace to FILE (tar.gz), also while the loop runs.

    Ledger, answers and domains that wait, git's history, and what DVC keeps of every tag. Keep a
    FILE with secrets as you keep a password.
    """
    from flows.backup.write_backup import backup as write
    from flows.loop import open_loop

    with open_loop(workspace, log=click.echo) as loop:
        made = write(loop, file, with_secrets=with_secrets)
    if as_json:
        echo_json(made)
        return
    click.echo(f"{file}: {made.files} files, {made.size / 1e6:.1f} MB, {made.tags} tags")
    for tag, lost in made.missing.items():
        click.echo(f"  {tag} cannot be restored: DVC's cache lacks {', '.join(lost[:3])}")
    if made.tool:
        click.echo(f"  without the annotation tool's projects: {made.tool}")


@click.command("restore-backup")
@click.argument("file", type=FILE)
@click.option("--into", type=click.Path(path_type=Path), required=True, help="A new folder.")
@AS_JSON
def restore_backup(file: Path, into: Path, as_json: bool) -> None:
    """Make the workspace of a backup in a new folder, every hash compared first.

    It is the same workspace, not another one: do not let both go on.
    """
    from flows.backup.restore_backup import restore_backup as bring_back

    found = bring_back(file, into, (lambda line: None) if as_json else click.echo)
    if as_json:
        echo_json(found)
        return
    click.echo(f"{into}: as of {found.made_at}, {found.tags} tags, {found.annotations} annotations")
    if found.tool:
        click.echo(f"What the annotation tool had is in {', '.join(found.tool)}; if it lost it:")
        click.echo("  ssl-loop labelstudio restore   (tasks, pre-annotations, answers, after up)")
    click.echo(f"Next: cd {into} && ssl-loop verify && ssl-loop up")


COMMANDS = (backup, restore_backup)
