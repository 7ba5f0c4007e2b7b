"""The command `ssl-loop serve`."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from flows.cli.options import WORKSPACE
from flows.cli.outside.predict_command import DEVICE, MEMBERS_OF
from pipeline.runtime.torch_settings import settle_torch


@click.command("serve")
@click.argument("model", metavar="MODEL_OR_TAG")
@click.option("--host", default="127.0.0.1", show_default=True, help="Whose connections to take.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0: a free one."
)
@click.option(
    "--token",
    envvar="SSL_LOOP_SERVE_TOKEN",
    show_envvar=True,
    help="What clients have to send as Authorization: Bearer; better by the environment, since "
    "others of this machine can read command lines.",
)
@click.option(
    "--max-mib", type=click.FloatRange(min=0, min_open=True), default=64, show_default=True
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(min=0, max=500, min_open=True),
    default=50,
    show_default=True,
)
@click.option(
    "--max-clients",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Requests at once; more are told to come back.",
)
@MEMBERS_OF
@DEVICE
@WORKSPACE
def serve(model: str, workspace: Path, **options: Any) -> None:
    """One image in, its mask out, over HTTP; the pixels of `ssl-loop predict`.

    POST the image file to /predict; /openapi.json describes the rest. It listens on this machine
    alone unless --host says otherwise. Ctrl-C ends it.

    \b
    ssl-loop serve models/teacher
    curl --data-binary @photo.jpg http://127.0.0.1:8090/predict > mask.png
    """
    settle_torch()
    from flows.deploy.mask_server import MaskServer, ServeLimits, listening
    from flows.deploy.mask_server import serve as answer_requests
    from flows.deploy.named_model import named_model
    from pipeline.deploy.deployed_model import DeployedModel, ModelChoice
    from pipeline.deploy.one_image import answer

    limits = ServeLimits(
        **{name: options[name] for name in ("max_mib", "max_megapixels", "max_clients")}
    )
    with named_model(model, workspace) as named:
        members = options["members"] or named.members
        chosen = ModelChoice(folder=named.folder, members=members, device=options["device"])
        deployed = DeployedModel(chosen)
    facts = {
        "classes": deployed.classes,
        "model_sha256": deployed.sha256,
        "max_mib": limits.max_mib,
        "max_megapixels": limits.max_megapixels,
    }
    server = MaskServer(
        lambda image, output: answer(deployed, image, output, limits.max_megapixels),  # type: ignore[arg-type]
        facts,
        limits,
        options["token"],
    )
    with listening(options["host"], options["port"]) as at:
        click.echo(
            f"http://{_shown(options['host'])}:{at.getsockname()[1]}/predict; Ctrl-C ends it"
        )
        if not options["token"] and not _is_loopback(options["host"]):
            click.secho("others may ask it without a token: --token", fg="yellow", err=True)
        answer_requests(server, at)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
