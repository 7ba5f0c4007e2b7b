"""The commands about models: `ssl-loop models`, `ssl-loop export` and `ssl-loop weights`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import AS_JSON, WORKSPACE, echo_json, settings
from pipeline.runtime.torch_settings import settle_torch

if TYPE_CHECKING:
    from pipeline.models.profile import Cost
    from pipeline.runtime.weights_folder import StoredWeights


@click.command("models")
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Frames per second that a model has to keep up with.",
)
@click.option("--only", metavar="NAME", multiple=True, help="This model alone; may be repeated.")
@AS_JSON
@WORKSPACE
def models(fps: float, only: tuple[str, ...], as_json: bool, workspace: Path) -> None:
    """All models with parameters, operations and time per image, one image at a time.

    At the workspace's image size and with its model.encoder where that fits, else with a small one
    that does; outside of a workspace at 96x128.
    """
    settle_torch()
    from functools import partial

    from pipeline.models import MODELS
    from pipeline.models.profile import measure
    from pipeline.runtime.progress import Progress

    params, image, num_classes = _asked(workspace)
    size = (image.height_px, image.width_px)
    names = only or tuple(MODELS)
    costs = []
    with Progress("models", len(names)) as progress:
        for name in names:
            costs.append(measure(name, params, size=size, num_classes=num_classes, fps=fps))
            progress.advance(note=partial(str, name))
    if as_json:
        echo_json([cost.to_dict() for cost in costs])
        return
    _show(costs, f"{size[0]}x{size[1]} pixels, {num_classes} classes, {fps:g} frames per second")


def _asked(workspace: Path) -> Any:
    """model, image and number of classes of the workspace; elsewhere the defaults."""
    from pipeline import layout
    from pipeline.config.params import ImageParams, ModelParams, load_params

    file = workspace / layout.PARAMS
    if not file.exists():
        return ModelParams(), ImageParams(), 19  # as many as Cityscapes, for which sizes are known
    params = load_params(file)
    return params.model, params.image, params.num_classes


def _show(costs: list[Cost], caption: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=caption)
    table.add_column("model", no_wrap=True)
    table.add_column("encoder", overflow="fold")
    devices = list(costs[0].latency_ms)
    for column in ("Mparam", "GFLOP", *(f"{device} ms" for device in devices), "keeps up"):
        table.add_column(column, justify="right")
    for cost in costs:
        times = [f"{cost.latency_ms[device]:.1f}" for device in devices]
        able = [device for device, enough in cost.keeps_up.items() if enough]
        table.add_row(
            cost.model,
            cost.encoder,
            f"{cost.parameters / 1e6:.1f}",
            f"{cost.flops / 1e9:.2f}",
            *times,
            ", ".join(able) or "no",
        )
    Console().print(table)


@click.command("export")
@click.argument("model_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--onnx", type=click.Path(path_type=Path), help="The ONNX file to write.")
@click.option(
    "--torch",
    "pt2",
    type=click.Path(path_type=Path),
    help="The program of torch.export to write (.pt2), for images of any size.",
)
@click.option(
    "--openvino",
    "xml",
    type=click.Path(path_type=Path),
    help="The OpenVINO IR to write (.xml, and .bin beside it); needs the package openvino.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of images to compare on (default: images of the workspace).",
)
@click.option(
    "--workspace",
    "-w",
    type=click.Path(path_type=Path, file_okay=False),
    help="Whose images to compare on (default: the one MODEL_DIR lies in).",
)
def export(
    model_dir: Path, images: Path | None, workspace: Path | None, **files: Path | None
) -> None:
    """Write a trained model for other programs, if it says the same there on 8 real images.

    MODEL_DIR is a folder such as models/teacher. Nothing is written where the two differ, or where
    it is a workspace's teacher that is refused for what it costs older domains.
    """
    wanted = {name: file for name, file in files.items() if file is not None}
    if not wanted:
        raise click.UsageError("say what to write: --onnx FILE, --torch FILE or --openvino FILE")
    settle_torch()
    from flows.rounds.offered_teacher import require_offered
    from pipeline.deploy.model_exports import MODEL_EXPORTS
    from pipeline.inference.onnx_export import real_images

    require_offered(model_dir)
    compared = real_images(model_dir, images, workspace)
    for name, file in wanted.items():
        click.echo(MODEL_EXPORTS[name](model_dir, file, compared))


@click.group("weights")
def weights() -> None:
    """Pretrained weights of encoders, kept on this machine for `encoder_weights: auto`."""


@weights.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--encoder", metavar="NAME", help="Whose weights (default: the model's encoder).")
@click.option(
    "--normalisation",
    type=click.Choice(["imagenet", "symmetric"]),
    help="What they were trained on, where it is another than the encoder's name says.",
)
@settings("What the encoder is to be built with, such as pad_type=same; may be repeated.")
@WORKSPACE
def weights_add(
    file: Path, encoder: str | None, normalisation: Any, settings: tuple[str, ...], workspace: Path
) -> None:
    """Keep a .safetensors or torch file, if it fits its encoder; `auto` takes the newest.

    A torch file (.pth, .pt, .bin) is read as tensors alone and kept as safetensors. Weights that
    were converted from elsewhere may want other images than their name says: `--normalisation` and
    `--set` go with them wherever `auto` takes them.
    """
    settle_torch()
    from flows.workspace.settings import parse_settings
    from pipeline.config.block import parse_block
    from pipeline.config.params import ModelParams
    from pipeline.models.weights import add_weights

    name = encoder or _asked(workspace)[0].encoder
    wants = parse_block(ModelParams, {"encoder_options": parse_settings(settings)}, source="--set")
    kept = add_weights(
        file, name, normalisation=normalisation, encoder_options=wants.encoder_options
    )
    click.echo(_kept(kept))


@weights.command("fetch")
@click.argument("name")
@click.option("--revision", metavar="COMMIT", help="The hub's commit (default: today's).")
def weights_fetch(name: str, revision: str | None) -> None:
    """Fetch what the hub keeps under an encoder's NAME, such as tu-mobilenetv2_100."""
    settle_torch()
    from pipeline.models.weights import fetch_weights

    click.echo(_kept(fetch_weights(name, revision)))


@weights.command("list")
@AS_JSON
def weights_list(as_json: bool) -> None:
    """What is kept, of one encoder the newest first: the one that `auto` takes."""
    from pipeline.runtime.weights_folder import stored_weights, weights_folder

    found = stored_weights()
    if as_json:
        echo_json(found)
        return
    if not found:
        click.echo(f"{weights_folder()}: no weights; `ssl-loop weights fetch NAME` or `add FILE`")
    for each in found:
        size = f"{each.size_bytes / 2**20:.1f} MiB"
        wants = [each.normalisation, *(f"{k}={v}" for k, v in each.encoder_options.items())]
        told = f"  ({', '.join(filter(None, wants))})" if any(wants) else ""
        click.echo(f"{each.encoder}  {each.sha256}  {size}  {each.added[:10]}  {each.origin}{told}")


def _kept(stored: StoredWeights) -> str:
    from pipeline.runtime.weights_folder import stored_path

    return (
        f"{stored_path(stored.encoder, stored.sha256)}: weights of {stored.encoder}, SHA-256 "
        f"{stored.sha256}; `encoder_weights: auto` takes them"
    )
