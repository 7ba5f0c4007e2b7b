"""The command `ssl-loop export-data`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.cli.options import AS_JSON, WORKSPACE, echo_json

FORMATS = ("index-png", "coco", "pascal-voc", "yolo-seg")


@click.command("export-data")
@click.argument("tag")
@click.option("--format", "name", type=click.Choice(FORMATS), required=True)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder."
)
@click.option("--domain", help="Of this domain alone [default: all].")
@AS_JSON
@WORKSPACE
def export_data(tag: str, out: Path, workspace: Path, *, as_json: bool, **how: Any) -> None:
    """Masks, splits and classes as the models of TAG saw them, for other tools.

    index-png (what `domain add` reads), coco (run lengths) and pascal-voc keep every pixel, ignored
    ones too; yolo-seg has polygons, and the IoU of each class says what they lose. Read from git
    and DVC's cache: the work tree stays as it is.

    \b
    ssl-loop export-data day/r3 --format coco --out day-coco
    """
    from flows.deploy.export_data import export_data as export

    found = export(workspace, tag, out, **how)
    echo_json(found) if as_json else click.echo(found.in_words())
