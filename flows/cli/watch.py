"""The command `ssl-loop watch`. Imports are inside the command: `--help` answers at once."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.options import AS_JSON, WORKSPACE
from pipeline.runtime.torch_settings import settle_torch


@click.command("watch")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--once", is_flag=True, help="Look once and end; else until Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--open-domain",
    is_flag=True,
    help="At a shift, add a domain of the images since; as watch.open_domain.",
)
@AS_JSON
@WORKSPACE
def watch(
    directory: Path | None, workspace: Path, once: bool, every_s: float, **options: bool
) -> None:
    """Say when images dropped into DIRECTORY no longer come from a known domain.

    Each new image is compared with the domains that were taken in; the suspicion adds up, and at
    watch.false_alarm_every it is an alarm: in the log, the ledger, the report and as the Prefect
    event ssl-loop.shift. Ended by Ctrl-C or killed, it goes on where it was. DIRECTORY defaults to
    watch.folder. With --json one JSON object per look that found something.
    """
    settle_torch()
    import json
    import time
    from dataclasses import asdict

    from flows.loop import open_loop
    from flows.views.round_report import render_again
    from flows.watch.watcher import Watcher, watched_folder
    from pipeline.errors import ServiceError

    as_json = options["as_json"]
    with open_loop(workspace, log=lambda line: click.echo(line, err=as_json)) as loop:
        folder = directory or watched_folder(loop)
        watcher = Watcher(
            loop=loop, folder=folder, open_domain=options["open_domain"], show=render_again
        )
        try:
            while True:
                try:
                    looked = watcher.look()
                except ServiceError as error:  # the next look sends the event again
                    if once:
                        raise
                    click.secho(f"Error: {error}", fg="red", err=True)
                else:
                    if once or looked.news:
                        click.echo(json.dumps(asdict(looked)) if as_json else str(looked))
                if once:
                    return
                time.sleep(every_s)
        except KeyboardInterrupt:
            click.echo("stopped; the next watch goes on from here", err=True)
