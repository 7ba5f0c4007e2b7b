"""The command `ssl-loop predict`."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from flows.cli.options import AS_JSON, WORKSPACE, echo_json
from pipeline.runtime.torch_settings import settle_torch

DEVICES = ("auto", "cpu", "cuda", "mps")
MEMBERS = ("none", "flips", "dropout", "snapshots")
DEVICE = click.option(
    "--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where it runs."
)
MEMBERS_OF = click.option(
    "--members",
    type=click.Choice(MEMBERS),
    help="Whose mean is predicted, as predict.members [default: as the model's workspace says, "
    "else none].",
)


@click.command("predict")
@click.argument("model", metavar="MODEL_OR_TAG")
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write to; what a run left unfinished there is gone on with.",
)
@click.option("--overlays", is_flag=True, help="Write overlays/: images with classes painted.")
@click.option("--confidence", is_flag=True, help="Write confidence/: 255 x the top probability.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds between two frames of a video.",
)
@click.option("--watch", is_flag=True, help="Go on with files that arrive, until Ctrl-C.")
@MEMBERS_OF
@DEVICE
@AS_JSON
@WORKSPACE
def predict(model: str, images: tuple[str, ...], workspace: Path, **options: Any) -> None:
    """Masks of new images, the same pixels as in the loop.

    MODEL_OR_TAG is a model's folder (models/teacher) or a tag of the workspace (day/r1), whose
    work tree stays as it is. IMAGES are folders, globs, images or videos. --out gets masks/ of
    class indices, named as the images, and images.csv with the share of each class. Files that
    cannot be read are named and the rest goes on; the exit code is then 1.

    \b
    ssl-loop predict models/teacher ~/photos --out masks --overlays
    ssl-loop predict day/r1 'drone/*.tif' flight.mp4 --every 2 --out masks
    """
    settle_torch()
    from flows.deploy.named_model import named_model
    from pipeline.deploy.deployed_model import ModelChoice
    from pipeline.deploy.folder_run import Outputs, folder_run
    from pipeline.deploy.given_images import files_named
    from pipeline.deploy.watching import watch

    wanted = {name: options[name] for name in ("out", "overlays", "confidence", "every_s")}
    with named_model(model, workspace) as named:
        members = options["members"] or named.members
        choice = ModelChoice(folder=named.folder, members=members, device=options["device"])
        files = [] if options["watch"] else files_named(images)
        with folder_run(choice, Outputs(**wanted)) as run:
            if options["watch"]:
                with suppress(KeyboardInterrupt):
                    watch(run, images)
            else:
                run.take(files)
    found = run.summary
    echo_json(asdict(found)) if options["as_json"] else click.echo(found.in_words())
    sys.exit(0 if found.good else 1)
