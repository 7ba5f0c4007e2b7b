"""Options that several commands of `ssl-loop` take."""

from __future__ import annotations

from pathlib import Path

import click

WORKSPACE = click.option(
    "--workspace",
    "-w",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The workspace's folder (default: here).",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
